/*
 * What a VAE is, as recipes name it, without an encoder for it: from its files, from what somebody declares, or from an
 * endpoint that is asked.
 */
#ifndef LATENTD_DAEMON_ENCODE_MODEL_H
#define LATENTD_DAEMON_ENCODE_MODEL_H

#include "base/hash.h"
#include "config/recipe_options.h"
#include "config/remote_options.h"
#include "daemon/recipe.h"
#include "vae/vae_config.h"

struct encode_model {
	bool fake;
	char name[64]; /* short: "sdxl", "ae" */
	char
	    declared[RECIPE_DECLARED_SIZE]; /* as struct recipe has it; "": the weights are known */
	struct vae_config vae;
	struct sha256 weights;
	enum vae_precision precision;
	size_t multiple;   /* of an image's sides */
	size_t resolution; /* that it is made for, where nothing else is asked for; 0: not known */
	/* Of what encodes it. */
	size_t best_batch;
	bool tiles; /* some can encode in tiles */
};

/* From the files that @options name; reads the weights. ERR_CONFIG, ERR_IO. */
int encode_model_of_files(const struct recipe_options *options, struct encode_model *out,
			  struct error *err);
/* @said: what is said of a model, perhaps of another name. ERR_CONFIG: neither it nor a preset is called @name. */
int encode_model_declared(const char *name, const struct remote_model *said,
			  struct encode_model *out, struct error *err);
/*
 * Asks the latentd at @url, as @remote says how. ERR_TRANSIENT: it does not answer. ERR_CONFIG: it is no latentd, or does
 * not want to say.
 */
int encode_model_ask(const char *url, const struct remote_config *remote, struct encode_model *out,
		     struct error *err);

/*
 * Another encoder computes @model too: @all gets what suits both. @first: there was none before.
 */
void encode_model_add(struct encode_model *all, const struct encode_model *model, bool first);
bool encode_model_same(const struct encode_model *a, const struct encode_model *b);

#endif
