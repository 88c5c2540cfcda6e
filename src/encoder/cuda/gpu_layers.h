/*
 * The layers of an AutoencoderKL's encoder or decoder, by diffusers' names, and the order in which the engine computes
 * them. Made from the config alone; the host asks it which tensors to hand over, the engine which steps to take.
 */
#ifndef LATENTD_ENCODER_CUDA_GPU_LAYERS_H
#define LATENTD_ENCODER_CUDA_GPU_LAYERS_H

#include "latentd_cuda.h"

enum gpu_layer_kind { GPU_NORM, GPU_CONV, GPU_LINEAR };

/* A module with a weight and a bias: NAME.weight, NAME.bias. */
struct gpu_layer {
	char name[80];
	enum gpu_layer_kind kind;
	uint32_t in, out; /* channels; a norm has only out */
	uint32_t kernel, stride;
};

#define GPU_MAX_LAYERS 256

struct gpu_layers {
	struct gpu_layer layers[GPU_MAX_LAYERS];
	size_t n;
};

/*
 * LATENTD_CUDA_UNSUPPORTED: channels that are not multiples of 8 or of the groups, more layers than there is room for.
 */
int gpu_layers_list(const struct latentd_cuda_config *config, struct gpu_layers *out,
		    struct latentd_cuda_error *err);

/*
 * What is computed, step by step. Maps are numbered; one lives from the step that writes it to the last that reads it.
 *	PIXELS     out = bytes / 127.5 - 1, eight channels of which the last five are zero
 *	LATENTS    out = the latent, by pixel; behind its channels one of ones, then zeros
 *	CONV       out = conv(norm(in)) + z; in and out may be one map if there is a norm; or conv(in in twice its size)
 *	RESNET     out = conv2(norm(conv1(norm(in)))) + in, or + in * shortcut; in and out may be one map. Of one image: what is
 *		   between the convolutions exists in bands alone, and conv1 is computed twice. Behind layer, conv1, and norm, its
 *		   norm, come the parameters of shortcut (where channels differ), norm2 and conv2
 *	LINEAR     out = in * weight + z, over pixels
 *	NORM       out = norm(in)
 *	ATTENTION  out = softmax(q k^T / sqrt(c)) v, in: q, k, v side by side
 *	MOMENTS    the result: float32, by channel
 *	PICTURE    the result: float32, by pixel
 */
enum gpu_step_kind {
	GPU_PIXELS,
	GPU_LATENTS,
	GPU_CONV_STEP,
	GPU_RESNET,
	GPU_LINEAR_STEP,
	GPU_NORM_STEP,
	GPU_ATTENTION,
	GPU_MOMENTS,
	GPU_PICTURE
};

/* Places of a layer's parameters; made from layers by gpu_model.c. */
enum { GPU_NONE = -1 };

struct gpu_step {
	enum gpu_step_kind kind;
	int in, out, z;	 /* maps; GPU_NONE */
	int layer, norm; /* parameters; GPU_NONE */
	int silu;	 /* behind the norm */
	int stats;	 /* a norm comes next: sums of out are wanted */
	int up;		 /* in is in twice its size, nearest neighbours, when it is convolved */
	int over;	 /* out lies at the beginning of in, which it may write over row by row */
};

struct gpu_map {
	uint32_t channels, level; /* height and width are those of the image >> level */
	int first, last;	  /* steps */
	int over;		  /* the map at whose beginning it lies; GPU_NONE */
};

#define GPU_MAX_STEPS 256

/* What goes in or comes out, of each image. */
struct gpu_port {
	uint32_t channels, level;
	uint32_t element; /* bytes */
};

struct gpu_steps {
	const struct gpu_steps *lean; /* the same network in less memory, for one image; NULL */
	struct gpu_port input, result;
	struct gpu_step steps[GPU_MAX_STEPS];
	struct gpu_map maps[GPU_MAX_STEPS];
	size_t n_steps, n_maps;
};

/*
 * The lean ones keep one map of the image's size where the others keep two. Parameters are numbered as gpu_params_list() lists them. The config has been through gpu_layers_list().
 */
void gpu_steps_list(const struct latentd_cuda_config *config, struct gpu_steps *out);
void gpu_steps_lean(const struct latentd_cuda_config *config, struct gpu_steps *out);

/*
 * What is on the device: layers with q, k and v joined, quant_conv folded into conv_out, post_quant_conv into conv_in,
 * channels padded to 8.
 */
void gpu_params_list(const struct latentd_cuda_config *config, struct gpu_layers *out);

/* Of an image of that size. */
static inline size_t gpu_port_values(const struct gpu_port *port, size_t height, size_t width)
{
	return (height >> port->level) * (width >> port->level) * port->channels;
}

static inline uint32_t gpu_pad8(uint32_t channels)
{
	return (channels + 7) / 8 * 8;
}

#endif
