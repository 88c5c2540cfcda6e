/*
 * Files of Python pickles (PyTorch's .ckpt, .bin, .pth, .pt) are known by name and by their first bytes, in order to
 * be refused: loading one runs whatever code is in it.
 */
#ifndef LATENTD_VAE_PICKLE_H
#define LATENTD_VAE_PICKLE_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PICKLE_PROBE = 9 }; /* bytes that tell a pickle from a .safetensors file */

bool pickle_name(const char *path);
/* A pickle of protocol 2 to 5, or a zip archive, which PyTorch packs them into; not .safetensors. */
bool pickle_bytes(const uint8_t *bytes, size_t size);

/* Refuses the file @path if it is one by name or content: ERR_CONFIG with the reason and the remedy. */
int pickle_check(const char *path, struct error *err);

#endif
