/*
 * Private to the files engines*.c. An engine has a unit for each encoder of the configuration: the encoder with this model
 * loaded, and its driver. A load is one task, which opens all units of an engine; between a load and its end nothing else
 * touches them. What a task on the loader's thread needs of an entry it has copies of: entries change, come and go meanwhile.
 */
#ifndef LATENTD_DAEMON_ENGINES_PARTS_H
#define LATENTD_DAEMON_ENGINES_PARTS_H

#include "daemon/engines.h"
#include "daemon/spending.h"

/* An encoder of the configuration. */
struct engine_entry {
	uint64_t id;
	struct encoder_config config;
	uint64_t version;   /* from 1; grows with changes for which it is opened anew */
	uint64_t endpoints; /* from 1; grows when they are others, which changes in place */
	bool leaves; /* it is no longer configured, and forgotten when none of its units is there */
	char *name;
	char *engine_name; /* of the encoder that was opened last */
	struct error
	    lack; /* why it could not open the model that was loaded last, or failed since */
	struct work_hours hours;
	struct encode_device device;
	struct encode_remote_told told;
	struct spending *spending; /* NULL: it sends nothing */
	uint64_t images, failed;
	double batch; /* images in one, smoothed over the last ones */
	struct rate rate;
	int64_t back_at; /* the last batch; monotonic ns */
};

/* That encoder with the model of one engine. */
struct engine_unit {
	struct engine *engine;
	struct engine_entry *entry;
	struct encoder *encoder;
	struct encode_driver *driver;
	uint64_t version; /* of the entry, that it was opened as, or could not be */
	uint64_t endpoints;
	bool drains;	 /* out of the group: it is closed when nothing is in flight */
	size_t tasks;	 /* on the loader's thread that are for it */
	size_t left_out; /* of several GPUs that are one encoder */
	bool out;	 /* of the group: it has failed */
	int64_t out_at;	 /* monotonic ms */
	bool tried;	 /* once more, since the model was loaded */
	bool opening;	 /* that is under way */
};

struct engine {
	struct engines *engines;
	struct engine *next;
	char *vae, *vae_config, *vae_model, *precision; /* as recipe_options have them */
	enum engine_state state;
	struct error failure;
	bool known;   /* model was loaded once */
	bool decoder; /* its decoder is wanted */
	struct encode_model model;
	struct engine_unit *
	    *units; /* one for each entry; without an encoder where that cannot compute it */
	struct encode_group group;
	int64_t used_at; /* monotonic ms */
};

struct engines {
	struct inbox *inbox;
	struct engines_options options;
	struct executor *loader;
	struct engine_entry **entries;
	size_t n, capacity;
	uint64_t last_id;
	struct engine *first;
};

/* -- engines.c ------------------------------------------------------------------------------------ */

void engine_unload(struct engine *e);
void engine_fail(struct engine *e, const struct error *why);
/* Batches. */
size_t engine_in_flight(const struct engine *e);
/* After other hours of @entry, or when the clock may say otherwise. */
void engine_entry_look_at_clock(struct engines *engines, size_t index);
/* Appends it; nothing of it is opened. */
struct engine_entry *engine_entry_add(struct engines *engines, const struct encoder_config *config);
/* No unit of any engine is there. */
void engine_entry_remove(struct engines *engines, size_t index);

/* -- engines_load.c: a model, on all encoders that can compute it --------------------------------- */

/* Begins; the state is ENGINE_LOADING until on_change. */
void engine_load(struct engine *e);
/* Opens the encoder of one unit, which has none, as its entry says now. */
void engine_load_unit(struct engine_unit *u);
/* ERR_CONFIG. */
int engine_has_none(const struct engine *e, struct error *err);

/* -- engines_unit.c: what becomes of batches, and of GPUs that are lost --------------------------- */

/* GPUs that were left out are opened once more, when it is time. */
void engine_units_look(struct engine *e, int64_t now);
/* Takes @encoder, also where it fails. */
int engine_unit_open(struct engine_unit *u, struct encoder *encoder, struct error *err);
/* Nothing may be in flight. */
void engine_unit_close(struct engine_unit *u);
/* It is not there, or not all of it. */
void engine_unit_tell(struct engine_unit *u, const struct error *why);

/* -- engines_change.c: encoders whose settings are others now ------------------------------------- */

/*
 * Whenever something of it has ended: what is out of date is closed and opened anew as soon as it can be. A ready one that
 * nothing is left to compute fails.
 */
void engine_follow(struct engine *e);
/* Some encoder of it is on its way from its old settings to the new ones, or is opened once more. */
bool engine_is_changing(const struct engine *e);
/* Forgets the entries that have left. */
void engines_forget_left(struct engines *engines);

/* -- engines_view.c: what people see of encoders -------------------------------------------------- */

enum encode_remote_health engines_look_at(const struct engines *engines, size_t index,
					  struct buffer *why);

#endif
