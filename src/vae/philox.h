/*
 * Philox4x32-10: 128 random bits that are a function of a 128-bit counter and a 64-bit key (Salmon,
 * Moraes, Dror, Shaw, "Parallel Random Numbers: As Easy as 1, 2, 3", SC11). No state: any element of
 * a sequence can be asked for, in any order, on any machine.
 */
#ifndef LATENTD_VAE_PHILOX_H
#define LATENTD_VAE_PHILOX_H

#include <stdint.h>

void philox4x32(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);

#endif
