/*
 * The encoders of a daemon, and the models that they have in memory. Each encoder of the configuration can compute
 * every VAE that a dataset names; an engine is one VAE on all of them.
 *
 *	engines_open(inbox, configs, n, &options, &engines, err)
 *	engine = engines_get(engines, recipe_options)      the same VAE: the same engine
 *	engine_want(engine)                                there is work: loads the model unless it is in memory
 *	if (engine_state(engine) == ENGINE_READY) ... engine_group(engine) takes batches ...
 *	engines_tick(engines)                              every now and then: an unused model leaves the memory
 *	engines_reconfigure(engines, configs, n)           other encoders, or others of their settings, while they compute
 *	engines_pause(engines, name, true)                 so does one that people have paused, until they end that
 *	engines_cancel(engines)                            what is in flight comes back unfinished
 *	engines_close(engines)                             when nothing is in flight
 *
 * A GPU that fails while it encodes is left out, and what it had comes back as ERR_TRANSIENT. It is opened once more after
 * a while, as others may have taken its memory, and then when the model is loaded anew. Where nothing else is left to compute the model, the failure is passed on, and the engine fails when all
 * has come back.
 *
 * Models are loaded on a thread of their own. What a model is (engine_model) stays known when it has left the memory;
 * one that is found to be another when it is loaded again makes the engine fail. Everything is of the loop's thread.
 */
#ifndef LATENTD_DAEMON_ENGINES_H
#define LATENTD_DAEMON_ENGINES_H

#include "config/daemon_config.h"
#include "daemon/encode_group.h"
#include "daemon/encode_remote.h"
#include "daemon/encode_setup.h"
#include "daemon/rate.h"
#include "daemon/stage_meter.h"
#include "daemon/work_hours.h"

enum engine_state { ENGINE_UNLOADED, ENGINE_LOADING, ENGINE_READY, ENGINE_FAILED };

struct engines;
struct engine;

struct engines_options {
	int64_t model_idle_ms; /* an unused model stays so long */
	int64_t gpu_again_ms;  /* after which a GPU that failed is opened once more; 0: never */
	size_t memory_limit;   /* what is in flight beside the encoders, bytes */
	size_t remote_memory;  /* of each remote encoder: encode_remote_open() */
	/* Where it is kept what remote encoders spend, and its thread; NULL: nowhere. */
	struct queue *queue;
	struct db *db;
	struct stage_meter *stages; /* where batches are counted; NULL: nowhere */
	encode_driver_fn on_batch;
	/* The state of an engine is another now. */
	void (*on_change)(void *arg);
	/* That of an encoder's endpoints; @why: what is wrong, "" when nothing is any more. NULL where no encoder is
	 * remote. */
	void (*on_health)(void *arg, const char *name, enum encode_remote_health health,
			  const char *why);
	/* A GPU of an encoder is left out from now on; the encoder is there again. NULL: nobody asks. */
	void (*on_left_out)(void *arg, const char *name, const char *why);
	void (*on_back)(void *arg, const char *name);
	void *arg;
};

/* Copies @configs, but for their texts, and reads what its encoders have spent already. */
int engines_open(struct inbox *inbox, const struct encoder_config *configs, size_t n,
		 const struct engines_options *options, struct engines **out, struct error *err);
/* Nothing may be in flight. NULL is fine. */
void engines_close(struct engines *engines);
struct engine *engines_get(struct engines *engines, const struct recipe_options *options);
void engines_tick(struct engines *engines);
/*
 * These are the encoders from now on; they are told apart by their names. Hours, what may be spent and endpoints change in
 * place (encoder_remote_change()); what was spent stays. One whose other settings differ gets no more batches and is closed when
 * those that it has are back, which of endpoints is at once: what they have not answered comes back as ERR_TRANSIENT. Then it is opened anew with each model that
 * is in memory, and where that fails the reason is shown as after a load. One that is not there any more, or is of another
 * type or model now, leaves in the same way, as "NAME (leaves)" until it has, and a new one comes. Others go on meanwhile.
 * The texts of @configs live as long as the engines.
 */
void engines_reconfigure(struct engines *engines, const struct encoder_config *configs, size_t n);
/* What it has it finishes; other settings do not end the pause. False: there is none of that name. */
bool engines_pause(struct engines *engines, const char *name, bool paused);
void engines_cancel(struct engines *engines);

/* From the next load on the model's decoder is there too, on encoders that decode (ENCODE_DECODE). */
void engine_want_decoder(struct engine *e);
/* Loads the model unless it is there or being loaded; also where that failed before. */
void engine_want(struct engine *e);
enum engine_state engine_state(const struct engine *e);
/* Why it failed. */
const struct error *engine_failure(const struct engine *e);
/* What it computes with; not before it was ready once. */
const struct encode_model *engine_model(const struct engine *e);
struct encode_group *engine_group(struct engine *e);
/* It is in memory, and no encoder computes such a batch (ENCODE_...), nor will when those that change are open again. */
bool engine_lacks(const struct engine *e, unsigned needs);
/*
 * Every encoder that could compute it is paused or outside its hours: of the one that goes on first, if any does by itself.
 * NULL: it is not so.
 */
const struct work_hours *engine_rests(const struct engine *e);
/*
 * It is in memory, and none of its encoders that take such batches (@needs: ENCODE_...) can compute now: endpoints fail, or
 * ask for time. It stays so while one of them is tried again.
 */
bool engine_is_shut(const struct engine *e, unsigned needs);
/* The encoder at @index may compute it. */
bool engine_has(const struct engine *e, size_t index);
/* An encoder of this machine computes it, or would if it were loaded: neither paused nor outside its hours. */
bool engine_is_here(const struct engine *e);

/* What people see of the encoder at @index: as they were configured, later ones behind the first. */
struct encoder_view {
	uint64_t id;			  /* which none before or after it has */
	const char *name, *type, *engine; /* engine: NULL before one was loaded */
	size_t in_flight;		  /* batches */
	size_t images;			  /* in them */
	double batch; /* images in one of its last batches, on average; 0: none yet */
	uint64_t images_done, images_failed;
	double images_per_second;
	uint64_t busy_ns; /* for so long something was in flight, since the beginning */
	bool ready;	  /* it has a model in memory */
	bool loading;
	const struct error *
	    failure; /* of a model that could not be loaded, there or at all, or of a GPU since; NULL: none */
	enum encode_remote_health health; /* the worst of its models */
	struct encoder_memory memory;	  /* of all its models; used 0: not known */
};

size_t engines_count(const struct engines *engines);
/* Which no other has, before or after it. */
uint64_t engines_id(const struct engines *engines, size_t index);
void engines_view(struct engines *engines, size_t index, struct encoder_view *view);
const struct work_hours *engines_hours(const struct engines *engines, size_t index);
/* What is wrong with the endpoints of the encoder at @index, to be freed; NULL: nothing. */
char *engines_why(const struct engines *engines, size_t index);
/* Calls @look for the encoder at @index with each model that is in memory; @model: its short name. */
void engines_each(const struct engines *engines, size_t index,
		  void (*look)(void *arg, const struct encoder *encoder, const char *model),
		  void *arg);
/*
 * A number that changes while encoders compute, for a watchdog; *busy: they have something to compute. It stands still
 * over a batch that hangs.
 */
uint64_t engines_progress(const struct engines *engines, bool *busy);
/* Something is in flight or being loaded: engines_close() must wait. */
bool engines_busy(const struct engines *engines);
/* A model is being loaded, and nothing is in flight. */
bool engines_only_load(const struct engines *engines);
/*
 * Instead of engines_close() where that would wait for a load: what was spent is saved, and all else left as it is,
 * inbox, loop and configuration too, until the process ends.
 */
void engines_abandon(struct engines *engines);

#endif
