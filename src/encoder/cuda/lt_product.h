/*
 * Matrix products by cuBLASLt. The algorithm of a shape is chosen when it is seen first: what the heuristics propose is
 * timed on the operands themselves, and remembered in the cache.
 */
#ifndef LATENTD_ENCODER_CUDA_LT_PRODUCT_H
#define LATENTD_ENCODER_CUDA_LT_PRODUCT_H

#include "algo_cache.h"
#include "gpu_device.h"

#include <cuda_runtime_api.h>

#define LT_PRODUCTS_WORKSPACE ((size_t)32 << 20)

struct lt_products;

/* @cache outlives it. */
int lt_products_open(cudaStream_t stream, enum latentd_cuda_dtype dtype, bool tf32,
		     struct algo_cache *cache, struct lt_products **out,
		     struct latentd_cuda_error *err);
void lt_products_close(struct lt_products *l);
/* Memory of the device that products may use while they run: LT_PRODUCTS_WORKSPACE bytes at least. */
void lt_products_workspace(struct lt_products *l, void *workspace);
int lt_products_run(struct lt_products *l, const struct gpu_product *p,
		    struct latentd_cuda_error *err);
size_t lt_products_version(void);

#endif
