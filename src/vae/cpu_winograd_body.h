/*
 * The part of cpu_kernels_body.h that transforms maps and weights for the winograd convolution.
 *
 * Winograd's minimal filtering F(4x4, 3x3) after Lavin and Gray, "Fast Algorithms for Convolutional
 * Neural Networks" (2015), section 4. One output tile Y of 4x4, of a window d of 6x6 and a filter g of
 * 3x3, over input channels c:
 *
 *	Y = A^T [ sum over c of (G g G^T) * (B^T d B) ] A          (* elementwise)
 *
 * The matrices come from polynomials that are interpolated at 0, p, -p, q, -q and infinity. Lavin and Gray
 * take p = 1 and q = 2. With p = 5/8 and q = 3/2 the error is half as large, and its maximum a quarter
 * (Barabasz, Anderson, Soodhalter and Gregg 2018, "Error analysis and improving the accuracy of Winograd
 * convolution for deep neural networks"). With s = p^2 q^2, t = p^2 + q^2, a = 1 / (2 p^2 (p^2 - q^2)) and
 * b = 1 / (2 q^2 (q^2 - p^2)):
 *
 *	       s     0    -t     0   1  0         1/s     0     0
 *	       0 -pq^2  -q^2     p   1  0           a    ap  ap^2           1    1    1    1    1  0
 *	B^T =  0  pq^2  -q^2    -p   1  0    G =    a   -ap  ap^2    A^T =  0    p   -p    q   -q  0
 *	       0 -qp^2  -p^2     q   1  0           b    bq  bq^2           0  p^2  p^2  q^2  q^2  0
 *	       0  qp^2  -p^2    -q   1  0           b   -bq  bq^2           0  p^3 -p^3  q^3 -q^3  1
 *	       0     s     0    -t   0  1           0     0     1
 *
 * The sums over c are 36 matrix products (one for each place of a window), 36 multiplications a tile
 * where the definition has 144.
 */

#define P	 0.625f
#define Q	 1.5f
#define P2	 (P * P)
#define Q2	 (Q * Q)
#define WEIGHT_P (1 / (2 * P2 * (P2 - Q2))) /* a */
#define WEIGHT_Q (1 / (2 * Q2 * (Q2 - P2))) /* b */

/* B^T x */
static inline void transform_input(vf y[6], const vf x[6])
{
	vf even_p = v_fma(v_set1(-Q2), x[2], x[4]), odd_p = v_fma(v_set1(-Q2), x[1], x[3]);
	vf even_q = v_fma(v_set1(-P2), x[2], x[4]), odd_q = v_fma(v_set1(-P2), x[1], x[3]);
	vf s = v_set1(P2 * Q2), minus_t = v_set1(-P2 - Q2);

	y[0] = v_fma(s, x[0], v_fma(minus_t, x[2], x[4]));
	y[1] = v_fma(v_set1(P), odd_p, even_p);
	y[2] = v_fma(v_set1(-P), odd_p, even_p);
	y[3] = v_fma(v_set1(Q), odd_q, even_q);
	y[4] = v_fma(v_set1(-Q), odd_q, even_q);
	y[5] = v_fma(s, x[1], v_fma(minus_t, x[3], x[5]));
}

/* A^T x */
static inline void transform_output(vf y[4], const vf x[6])
{
	vf even_p = x[1] + x[2], odd_p = v_set1(P) * (x[1] - x[2]);
	vf even_q = x[3] + x[4], odd_q = v_set1(Q) * (x[3] - x[4]);

	y[0] = x[0] + even_p + even_q;
	y[1] = odd_p + odd_q;
	y[2] = v_fma(v_set1(P2), even_p, v_set1(Q2) * even_q);
	y[3] = v_fma(v_set1(P2), odd_p, v_fma(v_set1(Q2), odd_q, x[5]));
}

/* G x */
static inline void transform_weights(vf y[6], const vf x[3])
{
	vf even_p = v_set1(WEIGHT_P) * v_fma(v_set1(P2), x[2], x[0]);
	vf even_q = v_set1(WEIGHT_Q) * v_fma(v_set1(Q2), x[2], x[0]);

	y[0] = v_set1(1 / (P2 * Q2)) * x[0];
	y[1] = v_fma(v_set1(WEIGHT_P * P), x[1], even_p);
	y[2] = v_fma(v_set1(-WEIGHT_P * P), x[1], even_p);
	y[3] = v_fma(v_set1(WEIGHT_Q * Q), x[1], even_q);
	y[4] = v_fma(v_set1(-WEIGHT_Q * Q), x[1], even_q);
	y[5] = x[2];
}

/* G g G^T of LANES channels; u[36], by rows. */
static inline void weights_tile(vf u[36], const float *g, size_t g_point)
{
	vf half[3][6]; /* (G g)^T */

	UNROLL for (size_t x = 0; x < 3; x++)
	{
		vf column[3];

		UNROLL for (size_t y = 0; y < 3; y++) column[y] = v_load(g + (y * 3 + x) * g_point);
		transform_weights(half[x], column);
	}
	UNROLL for (size_t y = 0; y < 6; y++)
	{
		vf row[3] = {half[0][y], half[1][y], half[2][y]};

		transform_weights(u + y * 6, row);
	}
}

static void winograd_weights(float *u, size_t u_point, const float *g, size_t g_point, size_t rows)
{
	for (size_t i = 0; i < rows * PANEL; i += PACKED * PANEL) {
		for (size_t j = 0; j < PANEL; j += LANES) {
			vf tiles[PACKED][36];

			for (size_t s = 0; s < PACKED; s++)
				weights_tile(tiles[s], g + i + s * PANEL + j, g_point);
			UNROLL for (size_t p = 0; p < 36; p++)
			{
				vf packed[PACKED];

				for (size_t s = 0; s < PACKED; s++)
					packed[s] = tiles[s][p];
				v_store(u + p * u_point + i / PACKED + j, v_pack_rows(packed));
			}
		}
	}
}

/* One tile, LANES channels; window row i begins at rows[i] + offset. */
static inline void input_tile(float *v, size_t v_point, const float *const *rows, size_t offset,
			      size_t channels)
{
	vf half[6][6]; /* (B^T d)^T */

	UNROLL for (size_t x = 0; x < 6; x++)
	{
		vf column[6];

		UNROLL for (size_t y = 0; y < 6; y++) column[y] =
		    v_load(rows[y] + offset + x * channels);
		transform_input(half[x], column);
	}
	UNROLL for (size_t y = 0; y < 6; y++)
	{
		vf row[6], out[6];

		UNROLL for (size_t x = 0; x < 6; x++) row[x] = half[x][y];
		transform_input(out, row);
		UNROLL for (size_t x = 0; x < 6; x++)
		    v_store_run(v + (y * 6 + x) * v_point, out[x]);
	}
}

static void winograd_input(float *v, size_t v_point, const float *const *rows, size_t tiles,
			   size_t channels)
{
	for (size_t t = 0; t < tiles; t++)
		for (size_t c = 0; c < channels; c += LANES)
			input_tile(v + (t * channels + c) / PACKED, v_point, rows,
				   t * WINOGRAD_TILE * channels + c, channels);
}

/* y[4][4] = A^T m A of one tile and LANES channels. */
static inline void output_tile(vf y[4][4], const float *m, size_t m_point)
{
	vf half[6][4]; /* (A^T m)^T */

	UNROLL for (size_t x = 0; x < 6; x++)
	{
		vf column[6];

		UNROLL for (size_t i = 0; i < 6; i++) column[i] = v_load(m + (i * 6 + x) * m_point);
		transform_output(half[x], column);
	}
	UNROLL for (size_t i = 0; i < 4; i++)
	{
		vf row[6];

		UNROLL for (size_t x = 0; x < 6; x++) row[x] = half[x][i];
		transform_output(y[i], row);
	}
}

/* A whole tile whose channels are all real. */
static inline void write_tile(const struct winograd_row *o, const float *m, float *out, size_t c)
{
	vf y[4][4], bias = v_load(o->bias + c);
	struct lane_sums sums;

	output_tile(y, m + c, o->m_point);
	UNROLL for (size_t i = 0; i < 16; i++)
	{
		float *pixel = out + i / 4 * o->out_row + i % 4 * o->out_pixel + c;
		vf x = y[i / 4][i % 4] + bias;

		if (o->accumulate)
			x = x + v_load(pixel);
		v_store(pixel, x);
		y[i / 4][i % 4] = x;
	}
	if (!o->sums)
		return;
	sums = sums_load(o->sums, c, y[0][0]);
	UNROLL for (size_t i = 0; i < 16; i++) sums_add(&sums, y[i / 4][i % 4]);
	sums_store(o->sums, c, &sums);
}

/* The same for @n channels at most LANES, and the first @columns columns and o->rows rows. */
static void write_tile_part(const struct winograd_row *o, const float *m, float *out, size_t c,
			    size_t n, size_t columns)
{
	vf y[4][4], bias = v_load(o->bias + c);
	struct lane_sums sums = {bias, bias, bias};

	output_tile(y, m + c, o->m_point);
	for (size_t i = 0; i < o->rows; i++) {
		for (size_t x = 0; x < columns; x++) {
			float *pixel = out + i * o->out_row + x * o->out_pixel + c;
			vf value = y[i][x] + bias;

			if (o->accumulate)
				value = value + load_some(pixel, n);
			store_some(pixel, value, n);
			if (o->sums && i + x == 0)
				sums = sums_load(o->sums, c, value);
			sums_add(&sums, value);
		}
	}
	if (o->sums)
		sums_store(o->sums, c, &sums);
}

static void winograd_output(const struct winograd_row *o)
{
	for (size_t t = 0; t * WINOGRAD_TILE < o->columns; t++) {
		size_t columns = o->columns - t * WINOGRAD_TILE, c = 0;
		const float *m = o->m + t * o->m_row;
		float *out = o->out + t * WINOGRAD_TILE * o->out_pixel;

		if (columns >= WINOGRAD_TILE && o->rows == WINOGRAD_TILE)
			for (; c + LANES <= o->channels; c += LANES)
				write_tile(o, m, out, c);
		for (; c < o->channels; c += LANES)
			write_tile_part(o, m, out, c, o->channels - c,
					columns < WINOGRAD_TILE ? columns : WINOGRAD_TILE);
		if (o->sums)
			o->sums->begun = true;
	}
}
