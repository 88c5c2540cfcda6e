#include "vae/philox.h"

#include <string.h>

enum { ROUNDS = 10 };

void philox4x32(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4])
{
	uint32_t x[4], k0 = key[0], k1 = key[1];

	memcpy(x, counter, sizeof(x));
	for (int round = 0; round < ROUNDS; round++) {
		uint64_t a = UINT64_C(0xD2511F53) * x[0], b = UINT64_C(0xCD9E8D57) * x[2];
		uint32_t x1 = x[1], x3 = x[3];

		x[0] = (uint32_t)(b >> 32) ^ x1 ^ k0;
		x[1] = (uint32_t)b;
		x[2] = (uint32_t)(a >> 32) ^ x3 ^ k1;
		x[3] = (uint32_t)a;
		k0 += 0x9E3779B9; /* golden ratio */
		k1 += 0xBB67AE85; /* sqrt(3) - 1 */
	}
	memcpy(out, x, sizeof(x));
}
