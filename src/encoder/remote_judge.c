/*
 * What a reply does to its image and to its endpoint. The lists of encoder_remote.h, as code.
 */
#include "base/checked.h"
#include "encoder/remote_parts.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

/* After the request that failed, which is over by now. */
struct verdict {
	enum endpoint_outcome outcome;
	/* OWED: what blames an image has to come twice, so the second try is not one of its retries. */
	enum {
		IMAGE_DONE,
		IMAGE_AGAIN,
		IMAGE_AGAIN_FREE,
		IMAGE_AGAIN_OWED,
		IMAGE_REFUSED,
		IMAGE_NOT_FINITE
	} image;
	bool timed_out;
};

/* Latents come back raw: what we asked a foreign server to apply is undone. */
static void undo_factors(const struct encoder_remote *r, struct ndarray *latent)
{
	const struct vae_config *vae = &r->options.vae;
	double shift = vae->has_shift_factor ? vae->shift_factor : 0;
	float *z = latent->data;

	if (!r->options.declared || vae->n_statistics > 0)
		return;
	for (size_t i = 0, n = ndarray_count(latent); i < n; i++)
		z[i] = (float)((double)z[i] / vae->scaling_factor + shift);
}

static struct verdict judge_latent(struct encoder_remote *r, struct remote_flight *f,
				   struct ndarray *latent, char reason[REMOTE_REASON_SIZE])
{
	const struct remote_latent want = remote_latent_of(r, f->item->batch->batch);

	switch (remote_reply_latent(&f->x, &want, latent, reason)) {
	case REMOTE_ANSWER_GOOD:
		if (remote_comes_of_nobody(r, &f->x, reason)) {
			ndarray_release(latent);
			return (struct verdict){ENDPOINT_STOPS, IMAGE_AGAIN, false};
		}
		undo_factors(r, latent);
		return (struct verdict){ENDPOINT_GOOD, IMAGE_DONE, false};
	case REMOTE_ANSWER_OTHER_MODEL:
		return (struct verdict){ENDPOINT_STOPS, IMAGE_AGAIN, false};
	case REMOTE_ANSWER_NOT_FINITE:
		if (++f->item->not_finite > 1)
			return (struct verdict){ENDPOINT_ALIVE, IMAGE_NOT_FINITE, false};
		return (struct verdict){ENDPOINT_ALIVE, IMAGE_AGAIN_OWED, false};
	case REMOTE_ANSWER_WRONG:
		break;
	}
	return (struct verdict){ENDPOINT_FAILS, IMAGE_AGAIN, false};
}

/* Servers that want a Content-Type say so with 415, or as the published fork with 400. */
static bool turns_typed(const struct encoder_remote *r, struct remote_server *s,
			const struct remote_flight *f, const char *reason)
{
	if (r->options.wire != ENCODER_REMOTE_AUTO || f->typed ||
	    (f->x.status != 415 && !(f->x.status == 400 && strcasestr(reason, "content type")) &&
	     !(f->x.status == 400 && strcasestr(reason, "content-type"))))
		return false;
	s->typed = true;
	return true;
}

static struct verdict judge_stop(struct remote_server *s, long status, int64_t now)
{
	if ((status == 401 || status == 403) && remote_new_token(s, now))
		return (struct verdict){ENDPOINT_UNASKED, IMAGE_AGAIN_FREE, false};
	return (struct verdict){ENDPOINT_STOPS, IMAGE_AGAIN, false};
}

static struct verdict judge_class(struct encoder_remote *r, struct remote_flight *f,
				  enum retry_class class, const char *reason, int64_t now)
{
	struct remote_server *s = &r->servers[f->server];

	switch (class) {
	case RETRY_TIMED_OUT:
		return (struct verdict){ENDPOINT_TIMES_OUT, IMAGE_AGAIN, true};
	case RETRY_THROTTLED:
		return (struct verdict){ENDPOINT_THROTTLES, IMAGE_AGAIN, false};
	case RETRY_STARTING:
		return (struct verdict){ENDPOINT_STARTS, IMAGE_AGAIN, false};
	case RETRY_STOP:
		return judge_stop(s, f->x.status, now);
	case RETRY_ELSEWHERE:
	case RETRY_REFUSED:
		if (turns_typed(r, s, f, reason))
			return (struct verdict){ENDPOINT_ALIVE, IMAGE_AGAIN_FREE, false};
		if (class == RETRY_REFUSED || ++f->item->refusals > 1)
			return (struct verdict){ENDPOINT_ALIVE, IMAGE_REFUSED, false};
		return (struct verdict){ENDPOINT_ALIVE, IMAGE_AGAIN_OWED, false};
	case RETRY_LATER:
	case RETRY_NOT_NEEDED:
		break;
	}
	return (struct verdict){ENDPOINT_FAILS, IMAGE_AGAIN, false};
}

/* What a person can do about an image of that status. */
static const char *remedy_of(long status)
{
	switch (status) {
	case 413:
		return ": the image is too large for it: send png, or encode at a lower resolution";
	case 415:
		return ": it does not take this kind of body: change wire or send";
	default:
		return "";
	}
}

static void finish_with(struct encoder_remote *r, struct remote_item *item, const struct verdict *v,
			const struct remote_server *s, long status, const char *reason)
{
	struct error err = ERROR_INIT;

	if (v->image == IMAGE_REFUSED)
		error_data(&err, "refused", "%s refuses it: %s%s", s->access.shown, reason,
			   remedy_of(status));
	else if (v->image == IMAGE_NOT_FINITE)
		error_data(&err, "non_finite", "%s: %s, for the second time", s->access.shown,
			   reason);
	else
		error_set(&err, ERR_TRANSIENT, "%s: %s", s->access.shown, reason);
	remote_item_finish(r, item, &err);
}

/* One that works has not failed just now: the image need not wait until the other has recovered. */
static bool another_is_well(const struct encoder_remote *r, size_t server, int64_t now)
{
	for (size_t i = 0; i < r->n_servers; i++) {
		const struct endpoint *e = &r->servers[i].endpoint;

		if (i != server && r->servers[i].known && e->phase == ENDPOINT_OK &&
		    e->not_before <= now && e->failures_in_row == 0)
			return true;
	}
	return false;
}

static void try_again(struct encoder_remote *r, struct remote_item *item, size_t server,
		      const struct verdict *v, int64_t now)
{
	size_t tries;

	remote_item_enter(r, item, ITEM_READY);
	item->hedged = false;
	if (v->image == IMAGE_AGAIN_FREE)
		return;
	item->avoid = server;
	tries = item->tries > 0 && !another_is_well(r, server, now) ? item->tries : 1;
	item->not_before = now + retry_pause_ms(tries, &r->random);
}

static void take_latent(struct encoder_remote *r, struct remote_item *item, struct ndarray *latent)
{
	const struct encode_batch *batch = item->batch->batch;

	if (!r->options.declared && batch->posterior == POSTERIOR_DRAW) {
		item->moments = *latent;
		buffer_release(&item->body);
		remote_item_enter(r, item, ITEM_DRAWING);
		remote_work_give(r, item);
		return;
	}
	item->image->latent = *latent;
	remote_item_finish(r, item, NULL);
}

static bool may_try_again(struct encoder_remote *r, struct remote_item *item,
			  struct remote_server *s, const struct verdict *v)
{
	if (v->image == IMAGE_AGAIN_FREE || v->image == IMAGE_AGAIN_OWED)
		return true;
	if (v->image != IMAGE_AGAIN)
		return false;
	item->tries++;
	return item->tries <= r->options.retries && endpoint_may_retry(&s->endpoint, v->timed_out);
}

static struct verdict judge_reply(struct encoder_remote *r, struct remote_flight *f,
				  struct ndarray *latent, char reason[REMOTE_REASON_SIZE],
				  int64_t now)
{
	enum retry_class class = remote_reply_class(&f->x, &r->servers[f->server].access, reason);

	/* Another model may refuse, or make NaN of, what ours would not. */
	if (remote_comes_of_another(r, &f->x, reason))
		return (struct verdict){ENDPOINT_STOPS, IMAGE_AGAIN, false};
	if (class == RETRY_NOT_NEEDED)
		return judge_latent(r, f, latent, reason);
	return judge_class(r, f, class, reason, now);
}

void remote_judge(struct encoder_remote *r, struct remote_flight *f, int64_t now)
{
	struct remote_server *s = &r->servers[f->server];
	struct remote_item *item = f->item;
	struct ndarray latent = NDARRAY_INIT;
	char reason[REMOTE_REASON_SIZE];
	struct verdict v = judge_reply(r, f, &latent, reason, now);
	size_t server = f->server;
	long status = f->x.status;

	item->flights[item->flights[0] == f ? 0 : 1] = NULL;
	if (!item->flights[0])
		item->flights[0] = TAKE(item->flights[1]);
	r->n_flying--;
	if (v.image != IMAGE_DONE)
		memcpy(s->reason, reason, sizeof(s->reason));
	remote_flight_over(r, f, now, v.outcome);
	if (v.image == IMAGE_DONE) {
		s->images++;
		remote_item_drop(r, item, now);
		take_latent(r, item, &latent);
	} else if (item->flights[0] && v.image != IMAGE_REFUSED && v.image != IMAGE_NOT_FINITE) {
		return; /* the other one may still give it */
	} else if (may_try_again(r, item, s, &v)) {
		try_again(r, item, server, &v, now);
	} else {
		remote_item_drop(r, item, now);
		finish_with(r, item, &v, s, status, reason);
	}
}
