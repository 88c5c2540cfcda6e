/* The plugin latentd-cuda.so in this process. */
#ifndef LATENTD_ENCODER_CUDA_PLUGIN_LOAD_H
#define LATENTD_ENCODER_CUDA_PLUGIN_LOAD_H

#include "base/error.h"
#include "encoder/cuda/latentd_cuda.h"

/*
 * Loads it from @path, or where encoder_cuda.h says; once, and for good: CUDA does not like to be unloaded. NULL with
 * ERR_CONFIG that says where it was looked for and what the dynamic loader, or the plugin, said.
 */
const struct latentd_cuda_api *cuda_plugin_load(const char *path, struct error *err);

/* An error of the plugin as one of ours. Returns -1. */
int cuda_plugin_error(const struct latentd_cuda_error *from, struct error *err);

#endif
