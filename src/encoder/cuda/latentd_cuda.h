/*
 * The door between latentd and its CUDA engine, latentd-cuda.so: plain C, versioned, no logging, no global state. The
 * host needs no CUDA to be built or to run; the plugin needs the CUDA libraries and libc, nothing of latentd.
 *
 *	api = latentd_cuda_plugin(&handshake, &err);			after dlopen
 *	api->devices(list, LATENTD_CUDA_MAX_DEVICES, &n, &err);
 *	api->model_open(&config, tensors, n_tensors, &model, &err);	copies what it needs of the weights
 *	api->engine_open(model, &options, &engine, &err);		one for each device
 *	api->submit(engine, &job, &err)					0, LATENTD_CUDA_FULL: collect first
 *	api->collect(engine, timeout_ms, &job, &err)			0 and the oldest job, LATENTD_CUDA_NOTHING
 *	api->engine_close(engine); api->model_close(model);		a model after its engines
 *
 * Functions return 0; a positive outcome named at the function; or a negative number, with *err filled. An engine
 * belongs to one thread at a time, except for cancel and ticks. Out-parameters are untouched on failure. Structs that
 * cross the door begin with their size; the handshake compares version and sizes, so that a plugin of another version
 * is refused with both numbers named instead of being called with another layout.
 *
 * The plugin refuses channels that are not multiples of 8, and images that no latent comes of.
 */
#ifndef LATENTD_CUDA_H
#define LATENTD_CUDA_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define LATENTD_CUDA_ABI	 4
#define LATENTD_CUDA_SYMBOL	 "latentd_cuda_plugin"
#define LATENTD_CUDA_MAX_BLOCKS	 8
#define LATENTD_CUDA_MAX_DEVICES 64
#define LATENTD_CUDA_KEY_SIZE	 128
#define LATENTD_CUDA_IN_FLIGHT	 2 /* jobs between submit and collect */

#define LATENTD_CUDA_FULL    1
#define LATENTD_CUDA_NOTHING 1

enum latentd_cuda_dtype { LATENTD_CUDA_F32, LATENTD_CUDA_F16, LATENTD_CUDA_BF16 };

/* What went wrong, by what helps. */
enum latentd_cuda_code {
	LATENTD_CUDA_OK,
	LATENTD_CUDA_NO_DRIVER,	    /* none installed, or not reachable from here */
	LATENTD_CUDA_OLD_DRIVER,    /* older than the CUDA runtime needs */
	LATENTD_CUDA_NO_DEVICE,	    /* no such GPU, or none visible */
	LATENTD_CUDA_WRONG_DEVICE,  /* the GPU is older than what the plugin is built for */
	LATENTD_CUDA_WRONG_LIBRARY, /* a CUDA library is missing, or of another version */
	LATENTD_CUDA_NO_MEMORY,	    /* of the device, or of the host: others have it now */
	LATENTD_CUDA_TOO_LARGE,	    /* does not fit into what the engine may take, in any way */
	LATENTD_CUDA_DEVICE_LOST, /* fell off the bus, or a fault ended its context: only a restart helps */
	LATENTD_CUDA_ECC,	  /* uncorrectable memory error */
	LATENTD_CUDA_UNSUPPORTED, /* this model or size cannot be computed */
	LATENTD_CUDA_MODEL,	  /* a tensor is missing or of another shape */
	LATENTD_CUDA_ABI_MISMATCH,
	LATENTD_CUDA_CANCELLED,
	LATENTD_CUDA_BUG,
};

/* One sentence that says what happened and, behind a semicolon, what helps. */
struct latentd_cuda_error {
	enum latentd_cuda_code code;
	char message[500];
};

/* A model is one of the two; an engine computes what its model is. */
enum latentd_cuda_part { LATENTD_CUDA_ENCODER, LATENTD_CUDA_DECODER };

/* An AutoencoderKL, as diffusers' config.json has it: channels from the pixels on, of a decoder too. */
struct latentd_cuda_config {
	uint32_t size;
	enum latentd_cuda_part part;
	uint32_t blocks;
	uint32_t channels[LATENTD_CUDA_MAX_BLOCKS];
	uint32_t layers_per_block;
	uint32_t groups;
	uint32_t latent_channels;
	uint32_t quant_conv, attention; /* 0 or 1; of a decoder the first is post_quant_conv */
};

/* Under its canonical (diffusers) name, as PyTorch stores it: conv [out][in][kh][kw], linear [out][in]. */
struct latentd_cuda_tensor {
	const char *name;
	enum latentd_cuda_dtype dtype;
	uint32_t ndim;
	uint64_t shape[4];
	const void *data;
};

struct latentd_cuda_device {
	int32_t index;	      /* as CUDA counts them: "cuda:0" */
	int32_t major, minor; /* compute capability */
	char name[128];
	uint64_t memory, memory_free; /* bytes */
};

struct latentd_cuda_engine;

struct latentd_cuda_options {
	uint32_t size;
	int32_t device;
	enum latentd_cuda_dtype dtype;
	uint32_t tf32; /* float32 only: multiplications may be rounded to TF32 */
	uint64_t
	    memory; /* bytes that weights, maps and workspaces may take together; 0: see memory_percent */
	const char *cache; /* file that remembers the fastest algorithms; NULL: none */
	double share;	   /* of the time that the device may be used: 0 < share <= 1 */
	uint32_t
	    pause_when_busy; /* 1: while another process computes on the device, this engine waits */
	uint32_t memory_percent; /* of what is free, where no bytes are given; 0: 80 */
	uint32_t max_batch;	 /* images computed at once at most; 0: as many as pay */
	/*
	 * One of the same device and thread, closed after this one: both keep to its memory and share, and take each
	 * other's maps when they need them. NULL: alone
	 */
	struct latentd_cuda_engine *beside;
};

struct latentd_cuda_caps {
	uint32_t size;
	uint32_t downscale;	  /* pixels per latent along one axis */
	uint32_t moment_channels; /* 2C; 0 of a decoder */
	uint32_t best_batch;	  /* images of a job that fill the device at small sizes */
	uint64_t memory_weights;  /* bytes on the device */
	char engine[160];	  /* "cuda/0.1.0 NVIDIA H200 cudnn-9.19.0 float16" */
};

enum {
	LATENTD_CUDA_ITEM_F32 =
	    1, /* was not finite in the engine's dtype, and was repeated in float32 */
	LATENTD_CUDA_ITEM_NOT_FINITE = 2, /* is not finite in float32 either */
	LATENTD_CUDA_ITEM_DONE = 4,
	LATENTD_CUDA_ITEM_TOO_LARGE =
	    8 /* not finite in the engine's dtype, too large for float32 */
};

/* One image of a job. Both memories are the caller's until the job is collected. */
struct latentd_cuda_item {
	/* uint8_t [height][width][3], sRGB; of a decoder float [C][height / downscale][width / downscale] */
	const void *input;
	/* moments, [2C][height / downscale][width / downscale]; of a decoder pixels around [-1, 1], [height][width][3] */
	float *result;
	uint32_t flags;
};

struct latentd_cuda_job {
	uint32_t width, height; /* of the images; multiples of downscale */
	uint32_t n;
	struct latentd_cuda_item *items;
	void *owner;
};

struct latentd_cuda_usage {
	uint32_t size;
	uint64_t arena, workspace, weights; /* bytes held now */
	uint32_t batch;			    /* images at once, of the last job */
	uint32_t banded;		    /* 1: the last job was computed in bands */
	uint32_t graph;			    /* 1: its last part was replayed as a CUDA graph */
};

struct latentd_cuda_model;

struct latentd_cuda_api {
	uint32_t abi, size;
	const char *version;
	/* Fills in at most @max. LATENTD_CUDA_NO_DRIVER, _OLD_DRIVER; no device at all is _NO_DEVICE. */
	int (*devices)(struct latentd_cuda_device *list, size_t max, size_t *n,
		       struct latentd_cuda_error *err);
	int (*model_open)(const struct latentd_cuda_config *config,
			  const struct latentd_cuda_tensor *tensors, size_t n,
			  struct latentd_cuda_model **out, struct latentd_cuda_error *err);
	void (*model_close)(struct latentd_cuda_model *model);
	/* The model must outlive the engine. */
	int (*engine_open)(struct latentd_cuda_model *model,
			   const struct latentd_cuda_options *options,
			   struct latentd_cuda_engine **out, struct latentd_cuda_error *err);
	void (*engine_close)(struct latentd_cuda_engine *engine);
	void (*caps)(const struct latentd_cuda_engine *engine, struct latentd_cuda_caps *out);
	/* The job stays where it is until collect returns it. */
	int (*submit)(struct latentd_cuda_engine *engine, struct latentd_cuda_job *job,
		      struct latentd_cuda_error *err);
	/*
	 * Waits at most @timeout_ms (-1: as long as it takes), and longer only while an algorithm is chosen. On
	 * failure *out is the job that failed; items without LATENTD_CUDA_ITEM_DONE have no result.
	 */
	int (*collect)(struct latentd_cuda_engine *engine, int timeout_ms,
		       struct latentd_cuda_job **out, struct latentd_cuda_error *err);
	/* From any thread: jobs in flight fail with LATENTD_CUDA_CANCELLED between two pieces of work. */
	void (*cancel)(struct latentd_cuda_engine *engine);
	/* From any thread: grows while the device gets on. */
	uint64_t (*ticks)(const struct latentd_cuda_engine *engine);
	void (*usage)(const struct latentd_cuda_engine *engine, struct latentd_cuda_usage *out);
};

/* What the host was compiled with. */
struct latentd_cuda_handshake {
	uint32_t abi, size;
	uint32_t api, config, tensor, device, options, caps, item, job, usage, error; /* sizeof */
};

#define LATENTD_CUDA_HANDSHAKE                                                                     \
	{                                                                                          \
		LATENTD_CUDA_ABI, sizeof(struct latentd_cuda_handshake),                           \
		    sizeof(struct latentd_cuda_api), sizeof(struct latentd_cuda_config),           \
		    sizeof(struct latentd_cuda_tensor), sizeof(struct latentd_cuda_device),        \
		    sizeof(struct latentd_cuda_options), sizeof(struct latentd_cuda_caps),         \
		    sizeof(struct latentd_cuda_item), sizeof(struct latentd_cuda_job),             \
		    sizeof(struct latentd_cuda_usage), sizeof(struct latentd_cuda_error)           \
	}

/* The one symbol of the plugin. NULL with an error: LATENTD_CUDA_ABI_MISMATCH. */
typedef const struct latentd_cuda_api *(*latentd_cuda_plugin_fn)(
    const struct latentd_cuda_handshake *host, struct latentd_cuda_error *err);

/* "float32" */
static inline const char *latentd_cuda_dtype_name(enum latentd_cuda_dtype dtype)
{
	return dtype == LATENTD_CUDA_F16    ? "float16"
	       : dtype == LATENTD_CUDA_BF16 ? "bfloat16"
					    : "float32";
}

static inline size_t latentd_cuda_dtype_size(enum latentd_cuda_dtype dtype)
{
	return dtype == LATENTD_CUDA_F32 ? 4 : 2;
}

#ifdef __cplusplus
}
#endif

#endif
