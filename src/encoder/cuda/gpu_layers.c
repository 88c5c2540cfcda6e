/*
 * Layers and parameters are walked by one function in the order in which they are computed; parameters differ only where
 * layers were joined. So a parameter's number is the number of layers before it, and the steps can count along.
 */
#include "gpu_layers.h"

#include "plugin_error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct walk {
	struct gpu_layers *out;
	int joined; /* parameters, not layers */
};

__attribute__((format(printf, 6, 7))) static void add(struct walk *w, enum gpu_layer_kind kind,
						      uint32_t in, uint32_t out, uint32_t kernel,
						      const char *format, ...)
{
	struct gpu_layer *layer;
	va_list args;

	if (w->out->n >= GPU_MAX_LAYERS)
		return;
	layer = &w->out->layers[w->out->n++];
	*layer =
	    (struct gpu_layer){.kind = kind, .in = in, .out = out, .kernel = kernel, .stride = 1};
	va_start(args, format);
	vsnprintf(layer->name, sizeof(layer->name), format, args);
	va_end(args);
}

static void walk_resnet(struct walk *w, const char *name, uint32_t in, uint32_t out)
{
	add(w, GPU_NORM, 0, in, 0, "%s.norm1", name);
	add(w, GPU_CONV, in, out, 3, "%s.conv1", name);
	if (in != out)
		add(w, GPU_CONV, in, out, 1, "%s.conv_shortcut", name);
	add(w, GPU_NORM, 0, out, 0, "%s.norm2", name);
	add(w, GPU_CONV, out, out, 3, "%s.conv2", name);
}

static void walk_attention(struct walk *w, uint32_t c)
{
	static const char name[] = "encoder.mid_block.attentions.0";

	add(w, GPU_NORM, 0, c, 0, "%s.group_norm", name);
	if (w->joined) {
		add(w, GPU_LINEAR, c, 3 * c, 1, "%s.to_qkv", name);
	} else {
		add(w, GPU_LINEAR, c, c, 1, "%s.to_q", name);
		add(w, GPU_LINEAR, c, c, 1, "%s.to_k", name);
		add(w, GPU_LINEAR, c, c, 1, "%s.to_v", name);
	}
	add(w, GPU_LINEAR, c, c, 1, "%s.to_out.0", name);
}

static void walk_all(struct walk *w, const struct latentd_cuda_config *c)
{
	uint32_t in = c->channels[0], moments = 2 * c->latent_channels;
	char name[64];

	add(w, GPU_CONV, w->joined ? 8 : 3, in, 3, "encoder.conv_in");
	for (uint32_t i = 0; i < c->blocks; i++) {
		for (uint32_t j = 0; j < c->layers_per_block; j++) {
			snprintf(name, sizeof(name), "encoder.down_blocks.%u.resnets.%u", i, j);
			walk_resnet(w, name, in, c->channels[i]);
			in = c->channels[i];
		}
		if (i + 1 == c->blocks)
			break;
		add(w, GPU_CONV, in, in, 3, "encoder.down_blocks.%u.downsamplers.0.conv", i);
		w->out->layers[w->out->n - 1].stride = 2;
	}
	walk_resnet(w, "encoder.mid_block.resnets.0", in, in);
	if (c->attention)
		walk_attention(w, in);
	walk_resnet(w, "encoder.mid_block.resnets.1", in, in);
	add(w, GPU_NORM, 0, in, 0, "encoder.conv_norm_out");
	add(w, GPU_CONV, in, w->joined ? gpu_pad8(moments) : moments, 3, "encoder.conv_out");
	if (c->quant_conv && !w->joined)
		add(w, GPU_CONV, moments, moments, 1, "quant_conv");
}

static int check(const struct latentd_cuda_config *c, struct latentd_cuda_error *err)
{
	if (c->blocks == 0 || c->blocks > LATENTD_CUDA_MAX_BLOCKS || c->layers_per_block == 0 ||
	    c->layers_per_block > 16 || c->groups == 0 || c->latent_channels == 0 ||
	    c->latent_channels > 1024)
		return plugin_error_set(err, LATENTD_CUDA_UNSUPPORTED,
					"a config of %u blocks of %u layers, %u groups, %u latent "
					"channels",
					c->blocks, c->layers_per_block, c->groups,
					c->latent_channels);
	for (uint32_t i = 0; i < c->blocks; i++) {
		if (c->channels[i] == 0 || c->channels[i] > 2048 || c->channels[i] % 8 != 0 ||
		    c->channels[i] % c->groups != 0)
			return plugin_error_set(
			    err, LATENTD_CUDA_UNSUPPORTED,
			    "block %u has %u channels in %u groups: the CUDA engine needs "
			    "multiples of 8 and of the groups, up to 2048",
			    i, c->channels[i], c->groups);
	}
	return 0;
}

int gpu_layers_list(const struct latentd_cuda_config *config, struct gpu_layers *out,
		    struct latentd_cuda_error *err)
{
	struct walk w = {.out = out};

	if (check(config, err) < 0)
		return -1;
	out->n = 0;
	walk_all(&w, config);
	if (out->n == GPU_MAX_LAYERS)
		return plugin_error_set(err, LATENTD_CUDA_UNSUPPORTED,
					"a model of more than %d layers", GPU_MAX_LAYERS);
	return 0;
}

void gpu_params_list(const struct latentd_cuda_config *config, struct gpu_layers *out)
{
	struct walk w = {.out = out, .joined = 1};

	out->n = 0;
	walk_all(&w, config);
}

/* -- steps ---------------------------------------------------------------------------------------- */

struct stepper {
	struct gpu_steps *out;
	int param; /* the next one */
	int x;	   /* the map that holds the state */
};

static int new_map(struct stepper *s, uint32_t channels, uint32_t level)
{
	int map = (int)s->out->n_maps++;

	s->out->maps[map] = (struct gpu_map){channels, level, (int)s->out->n_steps, 0};
	return map;
}

static void read_by(struct stepper *s, int map)
{
	if (map != GPU_NONE)
		s->out->maps[map].last = (int)s->out->n_steps;
}

static void push(struct stepper *s, struct gpu_step step)
{
	read_by(s, step.in);
	read_by(s, step.z);
	read_by(s, step.out);
	s->out->steps[s->out->n_steps++] = step;
}

static uint32_t channels_of(const struct stepper *s, int map)
{
	return s->out->maps[map].channels;
}

static uint32_t level_of(const struct stepper *s, int map)
{
	return s->out->maps[map].level;
}

/* conv2 writes over its own input, which the bands permit (gpu_network.c): two maps and a band are enough. */
static void step_resnet(struct stepper *s, uint32_t channels)
{
	int x = s->x, norm1 = s->param++, conv1 = s->param++, z = x, inner;

	inner = new_map(s, channels, level_of(s, x));
	push(s, (struct gpu_step){GPU_CONV_STEP, x, inner, GPU_NONE, conv1, norm1, 1, 1});
	if (channels_of(s, x) != channels) {
		z = new_map(s, channels, level_of(s, x));
		push(s, (struct gpu_step){GPU_LINEAR_STEP, x, z, GPU_NONE, s->param++, GPU_NONE, 0,
					  0});
	}
	push(s, (struct gpu_step){GPU_CONV_STEP, inner, inner, z, s->param + 1, s->param, 1, 1});
	s->param += 2;
	s->x = inner;
}

static void step_attention(struct stepper *s)
{
	uint32_t c = channels_of(s, s->x), level = level_of(s, s->x);
	int norm = s->param++, qkv = s->param++, out = s->param++;
	int t = new_map(s, c, level), all, y;

	push(s, (struct gpu_step){GPU_NORM_STEP, s->x, t, GPU_NONE, GPU_NONE, norm, 0, 0});
	all = new_map(s, 3 * c, level);
	push(s, (struct gpu_step){GPU_LINEAR_STEP, t, all, GPU_NONE, qkv, GPU_NONE, 0, 0});
	t = new_map(s, c, level);
	push(s, (struct gpu_step){GPU_ATTENTION, all, t, GPU_NONE, GPU_NONE, GPU_NONE, 0, 0});
	y = new_map(s, c, level);
	push(s, (struct gpu_step){GPU_LINEAR_STEP, t, y, s->x, out, GPU_NONE, 0, 1});
	s->x = y;
}

void gpu_steps_list(const struct latentd_cuda_config *c, struct gpu_steps *out)
{
	struct stepper s = {.out = out};
	int map;

	memset(out, 0, sizeof(*out));
	s.x = new_map(&s, 8, 0);
	push(&s, (struct gpu_step){GPU_PIXELS, GPU_NONE, s.x, GPU_NONE, GPU_NONE, GPU_NONE, 0, 0});
	map = new_map(&s, c->channels[0], 0);
	push(&s, (struct gpu_step){GPU_CONV_STEP, s.x, map, GPU_NONE, s.param++, GPU_NONE, 0, 1});
	s.x = map;
	for (uint32_t i = 0; i < c->blocks; i++) {
		for (uint32_t j = 0; j < c->layers_per_block; j++)
			step_resnet(&s, c->channels[i]);
		if (i + 1 == c->blocks)
			break;
		map = new_map(&s, c->channels[i], i + 1);
		push(&s, (struct gpu_step){GPU_CONV_STEP, s.x, map, GPU_NONE, s.param++, GPU_NONE,
					   0, 1});
		s.x = map;
	}
	step_resnet(&s, c->channels[c->blocks - 1]);
	if (c->attention)
		step_attention(&s);
	step_resnet(&s, c->channels[c->blocks - 1]);
	map = new_map(&s, gpu_pad8(2 * c->latent_channels), c->blocks - 1);
	push(&s, (struct gpu_step){GPU_CONV_STEP, s.x, map, GPU_NONE, s.param + 1, s.param, 1, 0});
	push(&s, (struct gpu_step){GPU_MOMENTS, map, GPU_NONE, GPU_NONE, GPU_NONE, GPU_NONE, 0, 0});
}
