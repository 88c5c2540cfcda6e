/*
 * An entry has a version, and each of its units the one that it was opened as. Where they differ the unit leaves the group,
 * drains, is closed, and is opened as the entry is by then; so it does not matter what changes while that is under way. Endpoints have a
 * version of their own, and are handed to the encoder as it runs.
 */
#include "daemon/engines_parts.h"

#include "daemon/encode_remote.h"

#include "base/checked.h"
#include "base/text.h"
#include "config/encoder_scope.h"

#include <string.h>

/* -- one unit --------------------------------------------------------------------------------------- */

static bool is_up_to_date(const struct engine_unit *u)
{
	if (u->entry->leaves)
		return !u->encoder && !u->opening;
	return u->version == u->entry->version &&
	       (u->driver || u->endpoints == u->entry->endpoints);
}

/* One that cannot take them is opened anew, which says why. */
static void take_endpoints(struct engine_unit *u)
{
	struct error why = ERROR_INIT;

	if (!u->driver || u->endpoints == u->entry->endpoints)
		return;
	u->endpoints = u->entry->endpoints;
	if (encode_remote_change(u->encoder, &u->entry->config.remote, &why) == 0)
		encode_driver_resized(u->driver);
	else
		u->version = 0;
}

/* What an endpoint is at may take it minutes: that is not waited for. */
static void drain(struct engine_unit *u)
{
	if (u->drains)
		return;
	u->drains = true;
	encode_group_remove(&u->engine->group, u->driver);
	if (u->entry->config.type == ENCODER_TYPE_REMOTE)
		encode_driver_cancel(u->driver);
}

static void follow(struct engine_unit *u)
{
	if (u->opening)
		return;
	if (is_up_to_date(u))
		take_endpoints(u);
	if (is_up_to_date(u))
		return;
	if (u->driver) {
		drain(u);
		if (encode_driver_in_flight(u->driver) > 0)
			return;
	}
	engine_unit_close(u);
	u->version = u->entry->version;
	u->endpoints = u->entry->endpoints;
	u->entry->lack = (struct error)ERROR_INIT;
	if (!u->entry->leaves && encoder_scope_has(&u->entry->config, u->engine->vae))
		engine_load_unit(u);
}

/* -- one engine ------------------------------------------------------------------------------------- */

bool engine_is_changing(const struct engine *e)
{
	for (size_t i = 0; i < e->engines->n; i++) {
		if (e->units[i]->drains || e->units[i]->opening)
			return true;
	}
	return false;
}

/* Why nothing of it is left. */
static struct error reason(const struct engine *e)
{
	struct error why = ERROR_INIT;

	for (size_t i = 0; i < e->engines->n && why.code == ERR_NONE; i++) {
		if (engine_has(e, i))
			why = e->engines->entries[i]->lack;
	}
	if (why.code == ERR_NONE)
		engine_has_none(e, &why);
	return why;
}

void engine_follow(struct engine *e)
{
	struct error why;

	if (e->state != ENGINE_READY)
		return;
	for (size_t i = 0; i < e->engines->n; i++)
		follow(e->units[i]);
	if (e->group.n > 0 || engine_in_flight(e) > 0 || engine_is_changing(e))
		return;
	why = reason(e);
	engine_fail(e, &why);
	e->engines->options.on_change(e->engines->options.arg);
}

/* -- all of them ------------------------------------------------------------------------------------ */

static bool has_left(const struct engines *engines, size_t index)
{
	if (!engines->entries[index]->leaves)
		return false;
	for (const struct engine *e = engines->first; e; e = e->next) {
		if (e->units[index]->tasks > 0 || e->units[index]->encoder)
			return false;
	}
	return true;
}

void engines_forget_left(struct engines *engines)
{
	for (size_t i = engines->n; i > 0; i--) {
		if (has_left(engines, i - 1))
			engine_entry_remove(engines, i - 1);
	}
}

/* Of the same name, and what computes the same: else it is another encoder. */
static bool is_the_one(const struct engine_entry *entry, const struct encoder_config *config)
{
	const struct remote_model *a = &entry->config.remote.model, *b = &config->remote.model;

	return !entry->leaves && strcmp(entry->name, config->name) == 0 &&
	       entry->config.type == config->type && text_same(a->name, b->name) &&
	       a->latent_channels == b->latent_channels && a->size_multiple == b->size_multiple &&
	       a->scaling_factor == b->scaling_factor && a->shift_factor == b->shift_factor;
}

static void change(struct engines *engines, size_t index, const struct encoder_config *config)
{
	struct engine_entry *entry = engines->entries[index];

	if (!encoder_config_same(&entry->config, config))
		entry->version++;
	if (!encoder_endpoints_same(&entry->config, config))
		entry->endpoints++;
	entry->config = *config;
	entry->config.cpu.beside = engines->options.memory_limit;
	spending_limit(entry->spending, &config->remote.options);
	work_hours_set(&entry->hours, config->hours);
	engine_entry_look_at_clock(engines, index);
}

/* Its name is free for another, while people see it finish. */
static void leave(struct engine_entry *entry)
{
	char *name = xasprintf("%s (leaves)", entry->name);

	free(entry->name);
	entry->name = name;
	entry->leaves = true;
}

/* Those that stay; *known: places of @configs that they have. */
static void change_or_leave(struct engines *engines, const struct encoder_config *configs, size_t n,
			    bool *known)
{
	for (size_t i = 0; i < engines->n; i++) {
		size_t k = 0;

		while (k < n && !is_the_one(engines->entries[i], &configs[k]))
			k++;
		if (k < n) {
			change(engines, i, &configs[k]);
			known[k] = true;
		} else if (!engines->entries[i]->leaves) {
			leave(engines->entries[i]);
		}
	}
}

void engines_reconfigure(struct engines *engines, const struct encoder_config *configs, size_t n)
{
	cleanup_free bool *known = xcalloc(n, sizeof(*known));

	change_or_leave(engines, configs, n, known);
	for (size_t i = 0; i < n; i++) {
		if (!known[i])
			spending_recall(engine_entry_add(engines, &configs[i])->spending,
					engines->options.db);
	}
	for (struct engine *e = engines->first; e; e = e->next)
		engine_follow(e);
	engines_forget_left(engines);
	engines->options.on_change(engines->options.arg);
}
