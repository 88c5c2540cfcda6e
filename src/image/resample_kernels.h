/*
 * The inner loops of resampling, one table of them for each set of instructions. All give the same
 * bytes: fixed point is exact modulo 2^32 in any order, and sums in single precision are added in
 * the order of the inputs everywhere.
 */
#ifndef LATENTD_IMAGE_RESAMPLE_KERNELS_H
#define LATENTD_IMAGE_RESAMPLE_KERNELS_H

#include "image/resample_taps.h"

/* Outputs of a row are written in such groups; what is behind the last one is garbage. */
#define OUTPUT_GROUP 4
/* Rows before and between the passes have room for so many more samples, to be read and written. */
#define ROW_SLACK 64
/* Of the batch, and of rows between the passes; bytes. */
#define ROW_ALIGN 64
#define MAX_LANES 4
#define MAX_GROUP 4

struct axis {
	size_t count;	   /* outputs; `across` in fixed point: a multiple of OUTPUT_GROUP */
	size_t first, end; /* inputs that any of them takes */
	size_t stride;	   /* words or weights of each */
	struct tap *taps;  /* [count]; `across` in fixed point: in groups from `first` on */
	uint32_t *words;   /* [count][stride], fixed point, packed */
	float *weights;	   /* [count][stride], single precision */
};

/* Single precision, for INTER_AREA, row by row. */
struct area_kernels {
	/* [width][3] samples, of which no byte more may be touched, to [a->count][3]. */
	void (*across)(const struct axis *a, const uint8_t *row, size_t width, float *out);
	/* The weighted sum of such rows, rounded half to even. */
	void (*down)(const float *const *rows, const float *weights, size_t count, size_t n,
		     uint8_t *out);
	/*
	 * Rows of whole numbers to their mean over @samples, which alone of 2 x 2 samples is
	 * rounded half up.
	 */
	void (*mean)(const float *const *rows, size_t count, size_t samples, size_t n,
		     uint8_t *out);
};

/*
 * Fixed point, a batch of rows at a time. Weights are packed a group at a time into `words` 32-bit
 * words, for both directions.
 */
struct resample_kernels {
	const char *isa;
	size_t lanes;	    /* rows of a batch */
	size_t group;	    /* neighbours whose weights are packed together */
	size_t words;	    /* of a packed group */
	size_t pixel_bytes; /* of the batch for a pixel of one lane */

	/* @weights: [group]. */
	void (*pack)(const int32_t *weights, uint32_t *words);
	/*
	 * Each output of all lanes, to @out: [lanes]. @rows: [lanes], pixels from a->first on, with
	 * ROW_SLACK. @batch is for the pixels in whatever order suits, a group of all lanes together.
	 */
	void (*across)(const struct axis *a, const uint8_t *const *rows, uint8_t *batch,
		       uint8_t *const *out);
	/* One output row; @rows: [groups * group]; @out: @n samples, no more. */
	void (*down)(const uint8_t *const *rows, const uint32_t *words, size_t groups, size_t n,
		     uint8_t *out);
	const struct area_kernels *area;
};

/* The fastest that this machine runs, or those of $LATENTD_ISA if it runs these. */
const struct resample_kernels *resample_kernels(void);

extern const struct resample_kernels resample_portable;
#ifdef __x86_64__
extern const struct resample_kernels resample_avx2;
extern const struct area_kernels resample_area_avx2;
/* With VNNI. */
extern const struct resample_kernels resample_avx512;
#endif

/* What is left of a row where vectors would read beyond it: outputs from @first on. */
void area_across_from(const struct axis *a, size_t first, const uint8_t *row, float *out);
/* Outputs before this one read nothing behind @inputs. */
size_t axis_outputs_before(const struct axis *a, size_t inputs);

/*
 * Rounded half to even and clipped: behind this addition the last bit of the fraction counts ones.
 * Unlike lrintf() it can be vectorised.
 */
static inline uint8_t area_sample(float x)
{
	union {
		float value;
		uint32_t bits;
	} shifted = {(x < 0.0f ? 0.0f : x > 255.0f ? 255.0f : x) + 0x1p23f};

	return (uint8_t)shifted.bits;
}

#endif
