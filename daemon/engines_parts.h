/*
 * Private to the files engines*.c. An engine has a unit for each encoder of the configuration: the encoder with this model
 * loaded, and its driver. A load is one task, which opens all units of an engine; between a load and its end nothing else
 * touches them.
 */
#ifndef LATENTD_DAEMON_ENGINES_PARTS_H
#define LATENTD_DAEMON_ENGINES_PARTS_H

#include "daemon/engines.h"
#include "daemon/spending.h"

/* An encoder of the configuration. */
struct engine_entry {
	struct encoder_config config;
	char *name;
	char *engine_name; /* of the encoder that was opened last */
	struct error
	    lack; /* why it could not open the model that was loaded last, or failed since */
	struct work_hours hours;
	struct encode_device device;
	struct encode_remote_told told;
	struct spending *spending; /* NULL: without limits */
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
	struct engine_unit
	    *units; /* one for each entry; without an encoder where that cannot compute it */
	struct encode_group group;
	int64_t used_at; /* monotonic ms */
};

struct engines {
	struct inbox *inbox;
	struct engines_options options;
	struct executor *loader;
	struct engine_entry *entries;
	size_t n;
	struct engine *first;
};

/* -- engines.c ------------------------------------------------------------------------------------ */

void engine_unload(struct engine *e);
void engine_fail(struct engine *e, const struct error *why);
/* Batches. */
size_t engine_in_flight(const struct engine *e);

/* -- engines_load.c: a model, on all encoders that can compute it --------------------------------- */

/* Begins; the state is ENGINE_LOADING until on_change. */
void engine_load(struct engine *e);
/* Opens the encoder of one unit, which has none. */
void engine_load_again(struct engine_unit *u);

/* -- engines_unit.c: what becomes of batches, and of GPUs that are lost --------------------------- */

/* GPUs that were left out are opened once more, when it is time. */
void engine_units_look(struct engine *e, int64_t now);
/* Takes @encoder, also where it fails. */
int engine_unit_open(struct engine_unit *u, struct encoder *encoder, struct error *err);

#endif
