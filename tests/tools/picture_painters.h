/*
 * What make_pictures can draw. A painter is a function from a point to a colour: points have y in
 * [-1, 1] from top to bottom and x in [-aspect, aspect] from left to right, so circles are round in every
 * size.
 */
#ifndef LATENTD_TESTS_PICTURE_PAINTERS_H
#define LATENTD_TESTS_PICTURE_PAINTERS_H

#include <stddef.h>

struct rgb {
	double r, g, b; /* 0 to 1 */
};

struct theme {
	const char *words; /* "in green and gold" */
	struct rgb high, low, light, ground;
};

struct painter {
	const char *folder, *name, *words; /* "scenes", "sunset", "The sun sets ..." */
	struct rgb (*paint)(const struct theme *theme, unsigned seed, double x, double y);
};

extern const struct theme picture_themes[];
extern const size_t n_picture_themes;
extern const struct painter picture_painters[];
extern const size_t n_picture_painters;

double clamp01(double v);
/* 0 up to @from, 1 beyond @to, smooth between them. */
double smoothstep(double from, double to, double v);

#endif
