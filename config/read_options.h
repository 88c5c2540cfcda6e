/*
 * The options of the commands that look at an output or a shard.
 */
#ifndef LATENTD_CONFIG_READ_OPTIONS_H
#define LATENTD_CONFIG_READ_OPTIONS_H

#include "config/cuda_options.h"
#include "config/remote_options.h"
#include "config/vae_options.h"

#include <stdbool.h>

#define READ_WORDS_MAX 2

/* Of gc, hours; of compact, a full shard. */
#define READ_GRACE_MAX	       (24 * 3650)
#define READ_SHARD_SAMPLES_MAX 100000
#define READ_SHARD_SIZE_MIN    1024
#define READ_SHARD_SIZE_MAX    ((int64_t)64 << 30)

struct read_options {
	const char *out;
	const char *socket, *state, *config; /* where else a daemon may be found */
	const char *name;		     /* of one dataset; NULL: all */
	const char *encoder;		     /* pause, resume */
	const char *reason;		     /* failed, retry */
	const char *key;		     /* retry, cancel: of one image */
	const char *to;			     /* extract */
	bool json;
	bool dry_run;			  /* gc, compact */
	bool deep;			  /* verify */
	size_t grace_hours;		  /* gc */
	size_t shard_samples, shard_size; /* compact: a full shard */
	bool skipped;			  /* failed, retry: what was left out by policy instead */
	bool cancelled;			  /* retry: what was cancelled instead */
	bool paths;			  /* failed, skipped: nothing but paths */
	bool watch;			  /* status */
	bool accept;			  /* deletions */
	const char *drain, *resume, *forget; /* nodes: one of them */
	const char *level;		     /* log: and graver; NULL: all */
	size_t lines;			     /* log */
	bool follow;			     /* log */
	const char *vae;		     /* decode, verify: a VAE, as `encode` takes it; NULL */
	struct vae_options vae_options;	     /* of it, or of a word */
	const char *endpoint;		     /* instead of vae: what decodes; NULL */
	const char *device;		     /* what decodes, as --device says it; one GPU */
	const char *token_file;		     /* for the endpoint */
	struct remote_options remote;	     /* of it what READ_ENDPOINT has */
	const char *output;		     /* a file */
	size_t count;			     /* preview */
	size_t decode;			     /* verify: latents to decode */
	double min_psnr;		     /* verify, dB; 0: as the model's family has it */
	bool scaled;			     /* decode-latent */
	bool fast;			     /* preview */
	bool private_hosts;		     /* preview, verify: as of encode */
	/* repack: of output_options.h; NULL: as it is. @val: percent */
	const char *format, *codec, *columns, *order, *val;
	bool help;
	const char *words[READ_WORDS_MAX]; /* exactly as many as the command takes */
};

/* What goes with an endpoint, for the list of options of a command. */
#define READ_ENDPOINT                                                                              \
	"endpoint token-file ca-file proxy proxy-auth-file timeout scale-up-timeout retries "      \
	"allow-http"

struct read_command {
	/*
	 * That it takes, by name: "out name json"; "output" is --out of a picture. "daemon" stands for out, socket, state and config, of which none need
	 * be given.
	 */
	const char *options;
	size_t n_words;	   /* that it takes, at most READ_WORDS_MAX */
	const char *usage; /* "status --out DIR [--json]" */
};

/* Outcomes, both printed already: the help or completion that was asked for, or the mistake and the usage. */
#define READ_OPTIONS_HELP  1
#define READ_OPTIONS_WRONG 2

/* Says what is wrong with options that are right by themselves, and the usage: READ_OPTIONS_WRONG. */
int read_options_wrong(const char *name, const struct read_command *command, const char *why);
/* 0 to go on, or one of the outcomes. --out must be given where it is taken by name. */
int read_options_parse(int argc, char **argv, const struct read_command *command,
		       struct read_options *options);

#endif
