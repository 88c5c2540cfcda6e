#include "picture_painters.h"

#include "base/checked.h"

#include <math.h>
#include <stdbool.h>
#include <stdint.h>

const struct theme picture_themes[] = {
    {"in warm evening light",
     {0.16, 0.14, 0.38},
     {0.98, 0.55, 0.25},
     {1.00, 0.90, 0.60},
     {0.20, 0.08, 0.14}},
    {"in cold blue light",
     {0.10, 0.30, 0.62},
     {0.72, 0.87, 0.95},
     {0.98, 0.98, 0.92},
     {0.06, 0.16, 0.26}},
    {"in green and gold",
     {0.05, 0.35, 0.38},
     {0.93, 0.86, 0.52},
     {1.00, 0.95, 0.70},
     {0.10, 0.26, 0.12}},
    {"in violet and rose",
     {0.24, 0.10, 0.42},
     {0.95, 0.60, 0.72},
     {1.00, 0.86, 0.88},
     {0.22, 0.07, 0.25}},
};

const size_t n_picture_themes = ARRAY_SIZE(picture_themes);

/* -- colours and noise ---------------------------------------------------------------------------- */

double clamp01(double v)
{
	return v < 0 ? 0 : v > 1 ? 1 : v;
}

double smoothstep(double from, double to, double v)
{
	double t = clamp01((v - from) / (to - from));

	return t * t * (3 - 2 * t);
}

static struct rgb mix(struct rgb a, struct rgb b, double t)
{
	return (struct rgb){a.r + (b.r - a.r) * t, a.g + (b.g - a.g) * t, a.b + (b.b - a.b) * t};
}

static struct rgb scale(struct rgb a, double t)
{
	return (struct rgb){a.r * t, a.g * t, a.b * t};
}

/* Through all colours of the theme and back, period 1. */
static struct rgb theme_wheel(const struct theme *theme, double t)
{
	const struct rgb wheel[] = {theme->ground, theme->high, theme->low,   theme->light,
				    theme->low,	   theme->high, theme->ground};
	double at = (t - floor(t)) * 6;
	size_t i = (size_t)at;

	return mix(wheel[i], wheel[i + 1], at - (double)i);
}

/* A number in [0, 1) that belongs to a grid point: integer mixing, the same on every machine. */
static double grid_random(int x, int y, unsigned seed)
{
	uint32_t h = (uint32_t)x * 0x8da6b343u ^ (uint32_t)y * 0xd8163841u ^ seed * 0xcb1ab31fu;

	h = (h ^ h >> 16) * 0x7feb352du;
	h = (h ^ h >> 15) * 0x846ca68bu;
	return (double)(h ^ h >> 16) / 4294967296.0;
}

/* Smooth noise in [0, 1] with features of size 1. */
static double noise(double x, double y, unsigned seed)
{
	int left = (int)floor(x), top = (int)floor(y);
	double u = smoothstep(0, 1, x - left), v = smoothstep(0, 1, y - top);
	double a = grid_random(left, top, seed), b = grid_random(left + 1, top, seed);
	double c = grid_random(left, top + 1, seed), d = grid_random(left + 1, top + 1, seed);

	return (a + (b - a) * u) * (1 - v) + (c + (d - c) * u) * v;
}

/* Noise with detail at five scales, in [0, 1]. */
static double rough_noise(double x, double y, unsigned seed)
{
	double sum = 0, weight = 0.5;

	for (unsigned octave = 0; octave < 5; octave++) {
		sum += weight * noise(x, y, seed + octave);
		x *= 2;
		y *= 2;
		weight /= 2;
	}
	return sum / 0.96875;
}

/* -- scenes --------------------------------------------------------------------------------------- */

static struct rgb sky(const struct theme *theme, double y)
{
	return mix(theme->high, theme->low, smoothstep(-1.1, 0.45, y));
}

/* Ranges of hills over @background, the nearer the darker. */
static struct rgb hills(const struct theme *theme, unsigned seed, double x, double y,
			struct rgb background)
{
	struct rgb color = background;

	for (unsigned range = 0; range < 3; range++) {
		double ridge = 0.15 + 0.22 * range -
			       0.45 * rough_noise(x * 1.2 + range * 7, 0.5, seed + range * 11);
		struct rgb ground = mix(theme->low, theme->ground, 0.45 + 0.25 * range);
		double shade = 0.85 + 0.3 * rough_noise(x * 9, y * 9, seed + 40 + range);

		color =
		    mix(color, scale(ground, shade), smoothstep(ridge - 0.004, ridge + 0.004, y));
	}
	return color;
}

static struct rgb paint_sunset(const struct theme *theme, unsigned seed, double x, double y)
{
	double sun_x = grid_random(1, 1, seed) - 0.5;
	double distance = hypot(x - sun_x, y + 0.12);
	struct rgb color = mix(sky(theme, y), theme->light, 0.7 * exp(-3.2 * distance));

	color = mix(theme->light, color, smoothstep(0.2, 0.208, distance));
	return hills(theme, seed, x, y, color);
}

static struct rgb paint_clouds(const struct theme *theme, unsigned seed, double x, double y)
{
	/* The plane of the clouds meets the horizon at y = 0.35. */
	double depth = 1 / fmax(0.36 - y, 0.02);
	double cover = rough_noise(x * depth * 0.9, depth * 1.6, seed);
	struct rgb white = {0.97, 0.97, 0.98};
	struct rgb color = mix(sky(theme, y), white, smoothstep(0.48, 0.75, cover) * 0.9);
	double furrow = rough_noise(x * 14 / (y + 0.3), 3 / (y - 0.2), seed + 5);

	if (y < 0.35)
		return color;
	return mix(theme->ground, mix(theme->low, theme->ground, 0.3), furrow);
}

static struct rgb paint_night(const struct theme *theme, unsigned seed, double x, double y)
{
	const double shore = 0.45;
	bool water = y > shore;
	double ripple = water ? 0.02 * sin(160 * (y - shore) / (0.2 + y)) : 0;
	double up = water ? 2 * shore - y : y; /* the lake mirrors what is above the shore */
	double across = x + ripple;
	double moon_x = 0.8 * grid_random(3, 1, seed) - 0.4;
	double moon = hypot(across - moon_x, up + 0.45);
	int cell_x = (int)floor(across * 28), cell_y = (int)floor(up * 28);
	double star = hypot(across * 28 - cell_x - 0.5, up * 28 - cell_y - 0.5);
	struct rgb color = scale(mix(theme->high, theme->low, smoothstep(-1, 1.2, up)), 0.45);
	double ridge = 0.42 - 0.5 * rough_noise(across * 1.5, 0.3, seed + 3);

	if (grid_random(cell_x, cell_y, seed) > 0.93)
		color = mix(theme->light, color, smoothstep(0.05, 0.2, star));
	color = mix(color, theme->light, 0.5 * exp(-5 * moon));
	if (moon < 0.17)
		color = scale(theme->light, 0.8 + 0.25 * rough_noise(across * 12, up * 12, seed));
	color = mix(color, scale(theme->ground, 0.5), smoothstep(ridge - 0.005, ridge + 0.005, up));
	return water ? scale(color, 0.75) : color;
}

/* Distance along the ray (0, 0, 0) + t * @ray to a ball, or 0. */
static double ray_meets_ball(const double ray[3], const double ball[4])
{
	double along = ray[0] * ball[0] + ray[1] * ball[1] + ray[2] * ball[2];
	double length2 = ray[0] * ray[0] + ray[1] * ray[1] + ray[2] * ray[2];
	double gap = ball[0] * ball[0] + ball[1] * ball[1] + ball[2] * ball[2] - ball[3] * ball[3];
	double root = along * along - length2 * gap;

	return root > 0 ? (along - sqrt(root)) / length2 : 0;
}

static struct rgb shade_ball(const struct theme *theme, const double at[3], const double ball[4],
			     double hue)
{
	double normal[3], light;

	for (int i = 0; i < 3; i++)
		normal[i] = (at[i] - ball[i]) / ball[3];
	light = fmax(0, (-0.5 * normal[0] - 0.75 * normal[1] - 0.43 * normal[2]));
	return mix(scale(theme_wheel(theme, hue), 0.25 + 0.75 * light), (struct rgb){1, 1, 1},
		   0.85 * pow(light, 24));
}

/* Balls on a chequered floor, in perspective, the light above to the left of the eye. */
static struct rgb paint_balls(const struct theme *theme, unsigned seed, double x, double y)
{
	const double floor_y = 1;
	double ray[3] = {x, y + 0.1, 1.6}, nearest = 1e9, t = floor_y / fmax(ray[1], 1e-3);
	double floor_x = ray[0] * t, floor_z = ray[2] * t, shadow = 1;
	struct rgb color = sky(theme, y - 0.4), tile = theme->light;

	for (int i = 0; i < 4; i++) {
		double radius = 0.35 + 0.35 * grid_random(i, 1, seed);
		double ball[4] = {i * 1.3 - 2.0, floor_y - radius,
				  3.6 + 2 * grid_random(i, 2, seed), radius};
		double hit = ray_meets_ball(ray, ball);
		double at[3] = {ray[0] * hit, ray[1] * hit, ray[2] * hit};
		double shade = hypot(floor_x - ball[0] - 0.5 * radius, floor_z - ball[2]) / radius;

		shadow = fmin(shadow, 0.35 + 0.65 * smoothstep(0.5, 1.2, shade));
		if (hit > 0 && hit < nearest) {
			nearest = hit;
			color = shade_ball(theme, at, ball, 0.2 + 0.17 * i);
		}
	}
	if (nearest < 1e9 || ray[1] <= 0)
		return color;
	if (((int)floor(floor_x * 1.5) + (int)floor(floor_z * 1.5)) & 1)
		tile = theme->ground;
	return mix(scale(tile, shadow), color, smoothstep(8, 40, floor_z)); /* haze */
}

/* -- patterns ------------------------------------------------------------------------------------- */

static struct rgb paint_plasma(const struct theme *theme, unsigned seed, double x, double y)
{
	double phase = 6.28 * grid_random(5, 5, seed);
	double v = sin(3 * x + phase) + sin(4 * y - phase) + sin(3 * (x + y)) +
		   sin(5 * hypot(x - 0.4, y + 0.3) + phase);

	return theme_wheel(theme, v / 6);
}

/* Colour by how fast z -> z^2 + c leaves; @inside where it stays. */
static struct rgb escape_color(const struct theme *theme, double zx, double zy, double cx,
			       double cy, struct rgb inside)
{
	for (int i = 0; i < 220; i++) {
		double next = zx * zx - zy * zy + cx;

		zy = 2 * zx * zy + cy;
		zx = next;
		if (zx * zx + zy * zy > 64)
			return theme_wheel(theme, 0.05 * (i - log2(log2(zx * zx + zy * zy))));
	}
	return inside;
}

/* The whole set, or the valley of the sea horses. */
static struct rgb paint_mandelbrot(const struct theme *theme, unsigned seed, double x, double y)
{
	bool whole = seed % 4 == 1;
	double zoom = whole ? 1.15 : 0.012, cx = whole ? -0.6 : -0.745, cy = whole ? 0 : 0.113;

	return escape_color(theme, 0, 0, cx + zoom * x, cy + zoom * y, scale(theme->ground, 0.3));
}

static struct rgb paint_julia(const struct theme *theme, unsigned seed, double x, double y)
{
	double turn = 1.9 + 0.35 * grid_random(9, 9, seed);

	return escape_color(theme, 1.3 * x, 1.3 * y, 0.7885 * cos(turn), 0.7885 * sin(turn),
			    theme->light);
}

static struct rgb paint_bubbles(const struct theme *theme, unsigned seed, double x, double y)
{
	struct rgb color = mix(theme->high, theme->ground, 0.5 + 0.5 * y);

	for (int i = 0; i < 26; i++) {
		double radius = 0.06 + 0.3 * grid_random(i, 0, seed);
		double from_x = x - 3.6 * (grid_random(i, 1, seed) - 0.5);
		double from_y = y - 2.2 * (grid_random(i, 2, seed) - 0.5);
		double r = hypot(from_x, from_y) / radius;
		double shine = hypot(from_x + 0.4 * radius, from_y + 0.4 * radius) / radius;
		struct rgb skin = theme_wheel(theme, 0.3 + 0.02 * i);

		color = mix(color, skin,
			    (0.2 + 0.7 * pow(clamp01(r), 4)) * (1 - smoothstep(0.98, 1, r)));
		color =
		    mix(color, (struct rgb){1, 1, 1}, 0.8 * (1 - smoothstep(0.05, 0.22, shine)));
	}
	return color;
}

/* Cells around random points (Worley), leaded where two are equally near. */
static struct rgb paint_glass(const struct theme *theme, unsigned seed, double x, double y)
{
	int left = (int)floor(x * 4), top = (int)floor(y * 4);
	double first = 9, second = 9, hue = 0;

	for (int j = top - 1; j <= top + 1; j++) {
		for (int i = left - 1; i <= left + 1; i++) {
			double d = hypot(x * 4 - i - grid_random(i, j, seed),
					 y * 4 - j - grid_random(i, j, seed + 1));

			if (d < first) {
				second = first;
				first = d;
				hue = grid_random(i, j, seed + 2);
			} else if (d < second) {
				second = d;
			}
		}
	}
	return scale(theme_wheel(theme, hue),
		     smoothstep(0.02, 0.07, second - first) * (1.1 - 0.35 * first));
}

const struct painter picture_painters[] = {
    {"scenes", "sunset", "The sun sets behind three ranges of hills", paint_sunset},
    {"patterns", "mandelbrot", "The Mandelbrot set", paint_mandelbrot},
    {"scenes", "night", "A moon and stars over mountains and their lake", paint_night},
    {"patterns", "bubbles", "Soap bubbles of many sizes", paint_bubbles},
    {"scenes", "balls", "Four shiny balls on a chequered floor", paint_balls},
    {"patterns", "glass", "A window of stained glass", paint_glass},
    {"scenes", "clouds", "Clouds over a wide field", paint_clouds},
    {"patterns", "plasma", "Flowing bands of colour", paint_plasma},
    {"patterns", "julia", "A Julia set", paint_julia},
};

const size_t n_picture_painters = ARRAY_SIZE(picture_painters);
