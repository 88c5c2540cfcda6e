/* Files are the tree's own goldens: the parsers below know no more of JSON than those need. */
#include "cuda_testing.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

void testing_die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("FAILED ", stdout);
	vprintf(format, args);
	putchar('\n');
	va_end(args);
	exit(1);
}

void *testing_alloc(size_t bytes)
{
	void *p = calloc(bytes ? bytes : 1, 1);

	if (!p)
		testing_die("no %zu bytes of memory", bytes);
	return p;
}

double testing_seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* -- numbers -------------------------------------------------------------------------------------- */

float testing_random(uint64_t seed, uint64_t i)
{
	uint64_t z = seed * UINT64_C(0xD1342543DE82EF95) + i * UINT64_C(0x9E3779B97F4A7C15);

	z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
	z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
	z ^= z >> 31;
	return (float)((double)(z >> 11) * 0x1p-52 - 1);
}

void testing_fill(float *out, size_t n, uint64_t seed, float scale)
{
	for (size_t i = 0; i < n; i++)
		out[i] = scale * testing_random(seed, i);
}

void testing_widen(float *out, const void *in, size_t n, enum latentd_cuda_dtype dtype)
{
	const uint16_t *half = in;

	for (size_t i = 0; i < n; i++) {
		uint32_t bits = dtype == LATENTD_CUDA_BF16 ? (uint32_t)half[i] << 16 : 0;

		if (dtype == LATENTD_CUDA_F32)
			out[i] = ((const float *)in)[i];
		else if (dtype == LATENTD_CUDA_F16)
			out[i] = gpu_half_to_float(half[i]);
		else
			memcpy(&out[i], &bits, sizeof(bits));
	}
}

void testing_round(float *values, size_t n, enum latentd_cuda_dtype dtype)
{
	void *rounded = testing_alloc(n * sizeof(float));

	gpu_convert(rounded, dtype, values, n);
	testing_widen(values, rounded, n, dtype);
	free(rounded);
}

double testing_relative_rms(const float *a, const float *b, size_t n)
{
	double error = 0, size = 0;

	for (size_t i = 0; i < n; i++) {
		double d = (double)a[i] - (double)b[i];

		if (!isfinite(d))
			return INFINITY;
		error += d * d;
		size += (double)b[i] * (double)b[i];
	}
	return size > 0 ? sqrt(error / size) : sqrt(error);
}

double testing_psnr(const float *a, const float *b, size_t n)
{
	double sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
	return 10 * log10(4 * (double)n / sum); /* from -1 to 1 */
}

/* -- models --------------------------------------------------------------------------------------- */

struct latentd_cuda_config testing_sd_config(enum latentd_cuda_part part)
{
	return (struct latentd_cuda_config){.size = sizeof(struct latentd_cuda_config),
					    .part = part,
					    .blocks = 4,
					    .channels = {128, 256, 512, 512},
					    .layers_per_block = 2,
					    .groups = 32,
					    .latent_channels = 4,
					    .quant_conv = 1,
					    .attention = 1};
}

/* Names and values of a model's tensors. */
struct tensors {
	struct latentd_cuda_tensor list[2 * GPU_MAX_LAYERS];
	char names[2 * GPU_MAX_LAYERS][96];
	size_t n;
};

static void add(struct tensors *t, const struct gpu_layer *layer, const char *part, float *values)
{
	bool vector = layer->kind == GPU_NORM || strcmp(part, "bias") == 0;

	snprintf(t->names[t->n], sizeof(t->names[0]), "%s.%s", layer->name, part);
	t->list[t->n] = (struct latentd_cuda_tensor){
	    .name = t->names[t->n],
	    .dtype = LATENTD_CUDA_F32,
	    .ndim = vector			? 1
		    : layer->kind == GPU_LINEAR ? 2
						: 4,
	    .shape = {layer->out, layer->in, layer->kernel, layer->kernel},
	    .data = values};
	t->n++;
}

static size_t weights_of(const struct gpu_layer *layer)
{
	return layer->kind == GPU_NORM
		   ? layer->out
		   : (size_t)layer->out * layer->in * layer->kernel * layer->kernel;
}

static void tensors_free(struct tensors *t)
{
	for (size_t i = 0; i < t->n; i++)
		free((void *)(uintptr_t)t->list[i].data);
	free(t);
}

static struct latentd_cuda_model *make(const struct latentd_cuda_config *config, struct tensors *t)
{
	struct latentd_cuda_error err = {LATENTD_CUDA_OK, ""};
	struct latentd_cuda_model *model = NULL;

	if (gpu_model_open(config, t->list, t->n, &model, &err) < 0)
		testing_die("%s", err.message);
	tensors_free(t);
	return model;
}

static struct gpu_layers *layers_of(const struct latentd_cuda_config *config)
{
	struct gpu_layers *layers = testing_alloc(sizeof(*layers));
	struct latentd_cuda_error err = {LATENTD_CUDA_OK, ""};

	if (gpu_layers_list(config, layers, &err) < 0)
		testing_die("%s", err.message);
	return layers;
}

static struct tensors *random_tensors(const struct latentd_cuda_config *config, uint64_t seed,
				      float gain)
{
	struct gpu_layers *layers = layers_of(config);
	struct tensors *t = testing_alloc(sizeof(*t));

	for (size_t i = 0; i < layers->n; i++) {
		const struct gpu_layer *layer = &layers->layers[i];
		size_t n = weights_of(layer);
		float *weight = testing_alloc(n * sizeof(float));
		float *bias = testing_alloc(layer->out * sizeof(float));

		testing_fill(bias, layer->out, seed + 2 * i, 0.1f);
		if (layer->kind == GPU_NORM) {
			testing_fill(weight, n, seed + 2 * i + 1, 0.2f);
			for (size_t k = 0; k < n; k++)
				weight[k] += 1;
		} else {
			testing_fill(weight, n, seed + 2 * i + 1,
				     1.6f * sqrtf((float)layer->out / (float)n) * (i ? 1 : gain));
		}
		add(t, layer, "weight", weight);
		add(t, layer, "bias", bias);
	}
	free(layers);
	return t;
}

struct latentd_cuda_model *testing_model(const struct latentd_cuda_config *config, uint64_t seed,
					 float gain)
{
	return make(config, random_tensors(config, seed, gain));
}

/* -- files ---------------------------------------------------------------------------------------- */

struct testing_file {
	char *bytes;
	size_t size;
	char *header; /* its text, ended */
	const char *data;
};

static char *read_all(const char *path, size_t *size)
{
	FILE *f = fopen(path, "rb");
	char *bytes;
	long end;

	if (!f || fseek(f, 0, SEEK_END) != 0 || (end = ftell(f)) < 0)
		testing_die("%s cannot be read", path);
	rewind(f);
	bytes = testing_alloc((size_t)end + 1);
	if (fread(bytes, 1, (size_t)end, f) != (size_t)end)
		testing_die("%s cannot be read", path);
	fclose(f);
	*size = (size_t)end;
	return bytes;
}

struct testing_file *testing_file_open(const char *folder, const char *name)
{
	struct testing_file *f = testing_alloc(sizeof(*f));
	uint64_t header = 0;
	char path[1024];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	f->bytes = read_all(path, &f->size);
	if (f->size >= 8)
		memcpy(&header, f->bytes, sizeof(header));
	if (f->size < 8 || header > f->size - 8)
		testing_die("%s is no .safetensors file", path);
	f->header = testing_alloc(header + 1);
	memcpy(f->header, f->bytes + 8, header);
	f->data = f->bytes + 8 + header;
	return f;
}

void testing_file_close(struct testing_file *f)
{
	free(f->header);
	free(f->bytes);
	free(f);
}

/* Numbers of the list that follows @key; how many. */
static size_t numbers(const char *at, const char *key, size_t *out, size_t max)
{
	const char *p = strstr(at, key);
	size_t n = 0;
	char *end;

	p = p ? strchr(p, '[') : NULL;
	while (p && *p && *p != ']' && n < max) {
		size_t value = strtoull(p + 1, &end, 10);

		if (end == p + 1)
			break;
		out[n++] = value;
		p = end + strspn(end, " \n");
	}
	return n;
}

float *testing_file_read(const struct testing_file *f, const char *name, size_t shape[4])
{
	char quoted[160];
	const char *at;
	size_t offsets[2] = {0, 0}, ndim, n = 1;
	bool half;
	float *out;

	snprintf(quoted, sizeof(quoted), "\"%s\":", name);
	at = strstr(f->header, quoted);
	if (!at)
		return NULL;
	for (int d = 0; d < 4; d++)
		shape[d] = 1;
	ndim = numbers(at, "\"shape\"", shape, 4);
	half = strncmp(strstr(at, "\"dtype\"") + 7, ":\"F16\"", 6) == 0;
	for (size_t d = 0; d < ndim; d++)
		n *= shape[d];
	if (numbers(at, "\"data_offsets\"", offsets, 2) != 2 ||
	    offsets[1] - offsets[0] != n * (half ? 2 : 4) ||
	    offsets[1] > f->size - (size_t)(f->data - f->bytes))
		testing_die("%s: a tensor that is not float32 or float16", name);
	out = testing_alloc(n * sizeof(float));
	testing_widen(out, f->data + offsets[0], n, half ? LATENTD_CUDA_F16 : LATENTD_CUDA_F32);
	return out;
}

bool testing_file_name(const struct testing_file *f, const char *prefix, size_t i, char *out,
		       size_t size)
{
	const char *at = f->header, *end;
	char quoted[96];

	snprintf(quoted, sizeof(quoted), "\"%s", prefix);
	do {
		at = strstr(at, quoted);
		if (!at)
			return false;
		at += strlen(quoted);
	} while (i-- > 0);
	end = strchr(at, '"');
	snprintf(out, size, "%.*s", (int)(end - at), at);
	return true;
}

static uint32_t number_of(const char *json, const char *key, uint32_t fallback)
{
	const char *at = strstr(json, key);

	if (!at)
		return fallback;
	at = strchr(at, ':') + 1;
	at += strspn(at, " ");
	if (strncmp(at, "true", 4) == 0)
		return 1;
	return strncmp(at, "false", 5) == 0 ? 0 : (uint32_t)strtoul(at, NULL, 10);
}

struct latentd_cuda_model *testing_model_open(const char *folder, enum latentd_cuda_part part)
{
	struct testing_file *f = testing_file_open(folder, "diffusion_pytorch_model.safetensors");
	struct tensors *t = testing_alloc(sizeof(*t));
	struct latentd_cuda_config config = {.size = sizeof(config), .part = part};
	size_t channels[LATENTD_CUDA_MAX_BLOCKS] = {0}, shape[4], size = 0;
	struct gpu_layers *layers;
	char path[1024], *json;

	snprintf(path, sizeof(path), "%s/config.json", folder);
	json = read_all(path, &size);
	config.blocks = (uint32_t)numbers(json, "\"block_out_channels\"", channels, 8);
	for (size_t i = 0; i < config.blocks; i++)
		config.channels[i] = (uint32_t)channels[i];
	config.layers_per_block = number_of(json, "\"layers_per_block\"", 1);
	config.groups = number_of(json, "\"norm_num_groups\"", 32);
	config.latent_channels = number_of(json, "\"latent_channels\"", 4);
	config.quant_conv = number_of(
	    json, part == LATENTD_CUDA_DECODER ? "\"use_post_quant_conv\"" : "\"use_quant_conv\"",
	    1);
	config.attention = number_of(json, "\"mid_block_add_attention\"", 1);
	layers = layers_of(&config);
	for (size_t i = 0; i < layers->n; i++) {
		static const char *const parts[] = {"weight", "bias"};

		for (int k = 0; k < 2; k++) {
			char name[160];
			float *values;

			snprintf(name, sizeof(name), "%s.%s", layers->layers[i].name, parts[k]);
			values = testing_file_read(f, name, shape);
			if (!values)
				testing_die("%s has no tensor %s", folder, name);
			add(t, &layers->layers[i], parts[k], values);
		}
	}
	free(layers);
	free(json);
	testing_file_close(f);
	return make(&config, t);
}

/* -- writing -------------------------------------------------------------------------------------- */

static FILE *create(const char *folder, const char *name)
{
	char path[1024];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	f = fopen(path, "wb");
	if (!f)
		testing_die("%s cannot be written", path);
	return f;
}

static void finish(FILE *f, const char *folder)
{
	bool bad = ferror(f);

	if (fclose(f) != 0 || bad)
		testing_die("%s cannot be written", folder);
}

static void write_config(const struct latentd_cuda_config *c, const char *folder)
{
	FILE *f = create(folder, "config.json");

	fprintf(
	    f,
	    "{\"_class_name\": \"AutoencoderKL\", \"in_channels\": 3, \"out_channels\": 3, "
	    "\"layers_per_block\": %u, \"norm_num_groups\": %u, \"latent_channels\": %u, "
	    "\"use_quant_conv\": %s, \"mid_block_add_attention\": %s,\n \"block_out_channels\": [",
	    c->layers_per_block, c->groups, c->latent_channels, c->quant_conv ? "true" : "false",
	    c->attention ? "true" : "false");
	for (uint32_t i = 0; i < c->blocks; i++)
		fprintf(f, "%s%u", i ? ", " : "", c->channels[i]);
	fprintf(f, "],\n \"down_block_types\": [");
	for (uint32_t i = 0; i < c->blocks; i++)
		fprintf(f, "%s\"DownEncoderBlock2D\"", i ? ", " : "");
	fprintf(f, "],\n \"up_block_types\": [");
	for (uint32_t i = 0; i < c->blocks; i++)
		fprintf(f, "%s\"UpDecoderBlock2D\"", i ? ", " : "");
	fprintf(f, "],\n \"force_upcast\": false, \"scaling_factor\": 0.18215}\n");
	finish(f, folder);
}

static size_t count_of(const struct latentd_cuda_tensor *t)
{
	size_t n = 1;

	for (uint32_t d = 0; d < t->ndim; d++)
		n *= t->shape[d];
	return n;
}

void testing_model_write(const struct latentd_cuda_config *config, uint64_t seed,
			 const char *folder)
{
	struct tensors *t = random_tensors(config, seed, 1);
	FILE *f = create(folder, "diffusion_pytorch_model.safetensors");
	size_t room = t->n * 320 + 16, used = 1, at = 0;
	char *header = testing_alloc(room);
	uint64_t size;

	header[0] = '{';
	for (size_t i = 0; i < t->n; i++) {
		const struct latentd_cuda_tensor *x = &t->list[i];
		size_t bytes = count_of(x) * sizeof(float);

		used += (size_t)snprintf(header + used, room - used,
					 "%s\"%s\":{\"dtype\":\"F32\",\"shape\":[", i ? "," : "",
					 x->name);
		for (uint32_t d = 0; d < x->ndim; d++)
			used += (size_t)snprintf(header + used, room - used, "%s%llu", d ? "," : "",
						 (unsigned long long)x->shape[d]);
		used += (size_t)snprintf(header + used, room - used,
					 "],\"data_offsets\":[%zu,%zu]}", at, at + bytes);
		at += bytes;
	}
	header[used++] = '}';
	while (used % 8)
		header[used++] = ' ';
	size = used;
	fwrite(&size, sizeof(size), 1, f);
	fwrite(header, 1, used, f);
	for (size_t i = 0; i < t->n; i++)
		fwrite(t->list[i].data, sizeof(float), count_of(&t->list[i]), f);
	finish(f, folder);
	write_config(config, folder);
	free(header);
	tensors_free(t);
}
