/*
 * The inner loops of the `winograd` engine, one table of them for each set of instructions. All are
 * compiled from one text, cpu_kernels_body.h, over a small vocabulary of vector operations.
 *
 * Maps are NHWC. Scratch has channels padded with zeros to a multiple of `lanes`. A sum over input
 * channels is added up in their order everywhere, so a value depends neither on how work is cut nor on
 * who does it; sets of instructions differ in last bits (without FMA two roundings instead of one).
 */
#ifndef LATENTD_VAE_CPU_KERNELS_H
#define LATENTD_VAE_CPU_KERNELS_H

#include <stdbool.h>
#include <stddef.h>

enum {
	WINOGRAD_TILE = 4,    /* outputs of a tile along one axis */
	WINOGRAD_WINDOW = 6,  /* inputs of a tile along one axis */
	WINOGRAD_POINTS = 36, /* WINDOW squared: products of a tile and channel pair */
};

/*
 * Of some pixels, for each channel: the value of the first pixel, and sums over all of (x - pivot) and
 * of its square, so that a mean that is large against the deviation costs no digits.
 */
struct pixel_sums {
	float *pivot, *sum, *square;
	bool begun; /* pivot is there */
};

/* A row of tiles on its way out. */
struct winograd_row {
	const float *m; /* [WINOGRAD_POINTS][tiles][m_row], the points m_point apart */
	size_t m_point, m_row;
	size_t channels; /* real ones, at most m_row */
	const float *bias;
	float *out;		   /* the first tile's first pixel and channel */
	size_t out_pixel, out_row; /* floats from one to the next */
	size_t rows, columns;	   /* pixels to write, at most 4 and 4 a tile */
	bool accumulate;
	struct pixel_sums *sums; /* of what is written; NULL: not asked for */
};

/* One query's part of a streamed softmax: what it has seen so far. */
struct softmax_state {
	float highest, sum;
};

struct cpu_kernels {
	const char *isa;
	size_t lanes; /* floats of a vector */
	size_t panel; /* output channels of a panel of packed weights */
	/*
	 * How many values of a, or rows of b, lie in a float's place: 1 in float32, 2 in bfloat16. `k` and the
	 * distances of a product count such places.
	 */
	size_t packed;

	/*
	 * c[rows][panels * panel] = a[rows][k] b, or += with @add. Panel i of b, [k][panel], begins at
	 * b + i * b_panel. Rows of a and c are a_row and c_row floats apart.
	 */
	void (*gemm)(float *c, size_t c_row, const float *a, size_t a_row, const float *b,
		     size_t b_panel, size_t rows, size_t k, size_t panels, bool add);
	/*
	 * out = in * scale + shift, then x * sigmoid(x) if @silu; a copy if @scale is NULL. @in is dense,
	 * pixels of @out are a multiple of lanes, @out_pixel, apart and filled up with zeros.
	 */
	void (*activate)(float *out, size_t out_pixel, const float *in, size_t pixels,
			 size_t channels, const float *scale, const float *shift, bool silu);
	/* u[36] = G g G^T of g[9], each [rows][panel], u packed; @rows: a multiple of `packed`. */
	void (*winograd_weights)(float *u, size_t u_point, const float *g, size_t g_point,
				 size_t rows);
	/*
	 * v[36][tiles][channels] = B^T d B of each tile, packed; window row i of the first tile begins at
	 * rows[i], the next tile's 4 pixels on. @channels: a multiple of lanes.
	 */
	void (*winograd_input)(float *v, size_t v_point, const float *const *rows, size_t tiles,
			       size_t channels);
	/* A^T m A of each tile, plus bias, plus what is there if so asked. */
	void (*winograd_output)(const struct winograd_row *row);
	/*
	 * out[pixel] = c[pixel] + bias, or += with @accumulate; pixels of @c are @c_row apart, @out is
	 * dense. @sums: of what is written, or NULL.
	 */
	void (*finish)(float *out, const float *c, size_t c_row, size_t pixels, size_t channels,
		       const float *bias, bool accumulate, struct pixel_sums *sums);
	/*
	 * A block of one query's scores becomes weights exp(scale * score - highest so far); what was
	 * summed up before, @sums [channels], is scaled to the same. @channels: a multiple of lanes.
	 */
	void (*softmax)(float *scores, size_t n, float scale, struct softmax_state *state,
			float *sums, size_t channels);
};

/*
 * The fastest that this machine runs; the one of $LATENTD_ISA (avx512, avx2, portable) instead, if it
 * runs that.
 */
const struct cpu_kernels *cpu_kernels(void);
/* Those whose products are of bfloat16, beside which cpu_kernels() are of the same shape; NULL: not on this machine. */
const struct cpu_kernels *cpu_kernels_of_bf16(void);

extern const struct cpu_kernels cpu_kernels_portable;
#ifdef __x86_64__
extern const struct cpu_kernels cpu_kernels_avx2, cpu_kernels_avx512, cpu_kernels_bf16;
#endif

#endif
