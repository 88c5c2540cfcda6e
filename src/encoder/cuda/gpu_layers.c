/*
 * Layers and parameters are walked by one function in the order in which they are computed; parameters differ only where
 * layers were joined. So a parameter's number is the number of layers before it, and the steps can count along.
 */
#include "gpu_layers.h"

#include "plugin_error.h"

#include <stdarg.h>
#include <stdbool.h>
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

static void walk_attention(struct walk *w, const char *part, uint32_t c)
{
	char name[64];

	snprintf(name, sizeof(name), "%s.mid_block.attentions.0", part);
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

static void walk_mid(struct walk *w, const char *part, uint32_t channels, uint32_t attention)
{
	char name[64];

	snprintf(name, sizeof(name), "%s.mid_block.resnets.0", part);
	walk_resnet(w, name, channels, channels);
	if (attention)
		walk_attention(w, part, channels);
	snprintf(name, sizeof(name), "%s.mid_block.resnets.1", part);
	walk_resnet(w, name, channels, channels);
}

static void walk_encoder(struct walk *w, const struct latentd_cuda_config *c)
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
	walk_mid(w, "encoder", in, c->attention);
	add(w, GPU_NORM, 0, in, 0, "encoder.conv_norm_out");
	add(w, GPU_CONV, in, w->joined ? gpu_pad8(moments) : moments, 3, "encoder.conv_out");
	if (c->quant_conv && !w->joined)
		add(w, GPU_CONV, moments, moments, 1, "quant_conv");
}

/* Of the @i-th block that a decoder computes. */
static uint32_t up_channels(const struct latentd_cuda_config *c, uint32_t i)
{
	return c->channels[c->blocks - 1 - i];
}

static void walk_decoder(struct walk *w, const struct latentd_cuda_config *c)
{
	uint32_t in = up_channels(c, 0), latent = c->latent_channels;
	char name[64];

	add(w, GPU_CONV, w->joined ? gpu_pad8(latent + 1) : latent, in, 3, "decoder.conv_in");
	walk_mid(w, "decoder", in, c->attention);
	for (uint32_t i = 0; i < c->blocks; i++) {
		for (uint32_t j = 0; j < c->layers_per_block + 1; j++) {
			snprintf(name, sizeof(name), "decoder.up_blocks.%u.resnets.%u", i, j);
			walk_resnet(w, name, in, up_channels(c, i));
			in = up_channels(c, i);
		}
		if (i + 1 < c->blocks)
			add(w, GPU_CONV, in, in, 3, "decoder.up_blocks.%u.upsamplers.0.conv", i);
	}
	add(w, GPU_NORM, 0, in, 0, "decoder.conv_norm_out");
	add(w, GPU_CONV, in, w->joined ? 8 : 3, 3, "decoder.conv_out");
	if (c->quant_conv && !w->joined)
		add(w, GPU_CONV, latent, latent, 1, "post_quant_conv");
}

static void walk_all(struct walk *w, const struct latentd_cuda_config *c)
{
	if (c->part == LATENTD_CUDA_DECODER)
		walk_decoder(w, c);
	else
		walk_encoder(w, c);
}

static int check(const struct latentd_cuda_config *c, struct latentd_cuda_error *err)
{
	if (c->part > LATENTD_CUDA_DECODER)
		return plugin_error_set(err, LATENTD_CUDA_UNSUPPORTED, "part %u of a model",
					(unsigned)c->part);
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
	bool lean;
};

static int new_map(struct stepper *s, uint32_t channels, uint32_t level)
{
	int map = (int)s->out->n_maps++;

	s->out->maps[map] = (struct gpu_map){channels, level, (int)s->out->n_steps, 0, GPU_NONE};
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

static void step_lean_resnet(struct stepper *s, uint32_t channels)
{
	bool same = channels_of(s, s->x) == channels;
	int out = same ? s->x : new_map(s, channels, level_of(s, s->x));

	push(s, (struct gpu_step){.kind = GPU_RESNET,
				  .in = s->x,
				  .out = out,
				  .z = GPU_NONE,
				  .norm = s->param,
				  .layer = s->param + 1,
				  .silu = 1,
				  .stats = 1});
	s->param += same ? 4 : 5;
	s->x = out;
}

/* conv2 writes over its own input, which the bands permit (gpu_network.c): two maps and a band are enough. */
static void step_resnet(struct stepper *s, uint32_t channels)
{
	int x = s->x, norm1, conv1, z = x, inner;

	if (s->lean) {
		step_lean_resnet(s, channels);
		return;
	}
	norm1 = s->param++;
	conv1 = s->param++;
	inner = new_map(s, channels, level_of(s, x));
	push(s, (struct gpu_step){GPU_CONV_STEP, x, inner, GPU_NONE, conv1, norm1, 1, 1, 0, 0});
	if (channels_of(s, x) != channels) {
		z = new_map(s, channels, level_of(s, x));
		push(s, (struct gpu_step){GPU_LINEAR_STEP, x, z, GPU_NONE, s->param++, GPU_NONE, 0,
					  0, 0, 0});
	}
	push(s,
	     (struct gpu_step){GPU_CONV_STEP, inner, inner, z, s->param + 1, s->param, 1, 1, 0, 0});
	s->param += 2;
	s->x = inner;
}

static void step_attention(struct stepper *s)
{
	uint32_t c = channels_of(s, s->x), level = level_of(s, s->x);
	int norm = s->param++, qkv = s->param++, out = s->param++;
	int t = new_map(s, c, level), all, y;

	push(s, (struct gpu_step){GPU_NORM_STEP, s->x, t, GPU_NONE, GPU_NONE, norm, 0, 0, 0, 0});
	all = new_map(s, 3 * c, level);
	push(s, (struct gpu_step){GPU_LINEAR_STEP, t, all, GPU_NONE, qkv, GPU_NONE, 0, 0, 0, 0});
	t = new_map(s, c, level);
	push(s, (struct gpu_step){GPU_ATTENTION, all, t, GPU_NONE, GPU_NONE, GPU_NONE, 0, 0, 0, 0});
	y = new_map(s, c, level);
	push(s, (struct gpu_step){GPU_LINEAR_STEP, t, y, s->x, out, GPU_NONE, 0, 1, 0, 0});
	s->x = y;
}

/* A convolution of the state, at @level. A lean one makes the state smaller in its place. */
static void step_conv(struct stepper *s, uint32_t channels, uint32_t level)
{
	int map = new_map(s, channels, level), over = s->out->maps[s->x].over;
	bool smaller = s->lean && level > level_of(s, s->x);

	if (smaller)
		s->out->maps[map].over = over != GPU_NONE ? over : s->x;

	push(s, (struct gpu_step){.kind = GPU_CONV_STEP,
				  .in = s->x,
				  .out = map,
				  .z = GPU_NONE,
				  .layer = s->param++,
				  .norm = GPU_NONE,
				  .stats = 1,
				  .up = level < level_of(s, s->x),
				  .over = smaller});
	s->x = map;
}

static void step_mid(struct stepper *s, uint32_t channels, uint32_t attention)
{
	step_resnet(s, channels);
	if (attention)
		step_attention(s);
	step_resnet(s, channels);
}

/* @kind: of what makes the first map */
static void step_begin(struct stepper *s, enum gpu_step_kind kind, uint32_t channels,
		       uint32_t level)
{
	s->x = new_map(s, channels, level);
	push(s, (struct gpu_step){kind, GPU_NONE, s->x, GPU_NONE, GPU_NONE, GPU_NONE, 0, 0, 0, 0});
}

/* conv_norm_out, SiLU, conv_out; @kind: of what hands out its map */
static void step_end(struct stepper *s, enum gpu_step_kind kind, uint32_t channels)
{
	int map = new_map(s, gpu_pad8(channels), level_of(s, s->x));

	push(s, (struct gpu_step){GPU_CONV_STEP, s->x, map, GPU_NONE, s->param + 1, s->param, 1, 0,
				  0, 0});
	push(s, (struct gpu_step){kind, map, GPU_NONE, GPU_NONE, GPU_NONE, GPU_NONE, 0, 0, 0, 0});
}

static void encoder_steps(struct stepper *s, const struct latentd_cuda_config *c)
{
	uint32_t latent = c->blocks - 1;

	s->out->input = (struct gpu_port){3, 0, 1};
	s->out->result = (struct gpu_port){2 * c->latent_channels, latent, sizeof(float)};
	step_begin(s, GPU_PIXELS, 8, 0);
	step_conv(s, c->channels[0], 0);
	for (uint32_t i = 0; i < c->blocks; i++) {
		for (uint32_t j = 0; j < c->layers_per_block; j++)
			step_resnet(s, c->channels[i]);
		if (i + 1 < c->blocks)
			step_conv(s, c->channels[i], i + 1);
	}
	step_mid(s, c->channels[latent], c->attention);
	step_end(s, GPU_MOMENTS, 2 * c->latent_channels);
}

static void decoder_steps(struct stepper *s, const struct latentd_cuda_config *c)
{
	uint32_t latent = c->blocks - 1;

	s->out->input = (struct gpu_port){c->latent_channels, latent, sizeof(float)};
	s->out->result = (struct gpu_port){3, 0, sizeof(float)};
	step_begin(s, GPU_LATENTS, gpu_pad8(c->latent_channels + 1), latent);
	step_conv(s, up_channels(c, 0), latent);
	step_mid(s, up_channels(c, 0), c->attention);
	for (uint32_t i = 0; i < c->blocks; i++) {
		for (uint32_t j = 0; j < c->layers_per_block + 1; j++)
			step_resnet(s, up_channels(c, i));
		if (i + 1 < c->blocks)
			step_conv(s, up_channels(c, i), latent - i - 1);
	}
	step_end(s, GPU_PICTURE, 3);
}

static void list(struct stepper *s, const struct latentd_cuda_config *c)
{
	memset(s->out, 0, sizeof(*s->out));
	if (c->part == LATENTD_CUDA_DECODER)
		decoder_steps(s, c);
	else
		encoder_steps(s, c);
}

void gpu_steps_list(const struct latentd_cuda_config *c, struct gpu_steps *out)
{
	struct stepper s = {.out = out};

	list(&s, c);
}

void gpu_steps_lean(const struct latentd_cuda_config *c, struct gpu_steps *out)
{
	struct stepper s = {.out = out, .lean = true};

	list(&s, c);
}
