/*
 * What a server that encodes for others is told: shared by `latentd serve` and `serve:` in a configuration. Groups, as
 * in settings.h.
 */
#ifndef LATENTD_CONFIG_SERVE_OPTIONS_H
#define LATENTD_CONFIG_SERVE_OPTIONS_H

#include "config/cuda_options.h"
#include "config/encoder_limits.h"
#include "config/vae_options.h"

#include <stdbool.h>

struct serve_options {
	const char *listen; /* "HOST:PORT"; NULL: nothing is served */
	const char *vae;    /* path, preset or hub id, or RECIPE_VAE_FAKE */
	struct vae_options vae_options;
	const char *precision;	/* as recipe_options have it */
	const char *token_file; /* NULL: whoever reaches it may ask */
	bool encode_only;	/* the model's decoder is not loaded */
	bool allow_anyone;	/* without a token beyond the loopback device */
	const char *tls_cert, *tls_key;
	size_t connections;
	size_t queue; /* images that wait or are encoded; beyond it 429 */
	size_t batch; /* images encoded together; 0: what the encoder likes */
	size_t max_body, max_pixels;
	size_t memory;	       /* bytes of requests that are under way */
	uint64_t gather;       /* ms that images wait for others of their size */
	uint64_t timeout;      /* ms that a request waits for the encoder; then 503 */
	uint64_t stop_timeout; /* ms for what is under way at the end */
	int priority;	       /* against the datasets of a daemon */
};

extern const struct settings_group serve_settings;

/* HOST:PORT, where HOST may be [IPv6]; whether there is such a host shows when it is opened. */
bool serve_address_valid(const char *text);

/* What no single option can tell. ERR_CONFIG. Nothing is wrong where nothing is served. */
int serve_options_check(const struct serve_options *options, struct error *err);
/* Token and key are there and for nobody else to read. *which: the one that it is about. */
int serve_options_check_files(const struct serve_options *options, const char **which,
			      struct error *err);

/* `latentd serve`. */
struct serve_command {
	struct serve_options serve;
	struct encoder_limits encoder;
	const char *device; /* "cpu", "cuda", "cuda:1", "cuda:all": serve_command_cuda() */
	struct cuda_limits cuda;
	size_t jobs;	     /* decode processes */
	size_t memory_limit; /* bytes of pixels */
	bool help;
};

extern const struct setting serve_command_settings[];
extern const size_t n_serve_command_settings;

/* Its GPU and what it may use of that; false: the processor encodes. */
bool serve_command_cuda(const struct serve_command *command, struct cuda_limits *out);
int serve_command_check(const struct serve_command *command, struct error *err);

#endif
