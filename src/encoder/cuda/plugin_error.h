/*
 * Errors of the plugin: what CUDA's libraries report, as a cause and what helps. Nothing here needs a device.
 *
 *	return plugin_error_cuda(err, status, "a copy to the device");    -1, with *err filled
 */
#ifndef LATENTD_ENCODER_CUDA_PLUGIN_ERROR_H
#define LATENTD_ENCODER_CUDA_PLUGIN_ERROR_H

#include "latentd_cuda.h"

#include <stdbool.h>

/* All return -1; @err may be NULL. The first error of a chain of calls is kept: none overwrites another. */
int plugin_error_set(struct latentd_cuda_error *err, enum latentd_cuda_code code,
		     const char *format, ...) __attribute__((format(printf, 3, 4)));
int plugin_error_memory(struct latentd_cuda_error *err, size_t bytes);
/* One that these functions have made, as it is: what helps stands in it. */
int plugin_error_pass(struct latentd_cuda_error *err, const struct latentd_cuda_error *from);

/* @what: what was being done, for people. The statuses are int, so that no CUDA header is needed here. */
int plugin_error_cuda(struct latentd_cuda_error *err, int cuda_error, const char *what);
int plugin_error_cudnn(struct latentd_cuda_error *err, int cudnn_status, const char *what);
int plugin_error_cublas(struct latentd_cuda_error *err, int cublas_status, const char *what);

/* A call of the runtime in a function that has @err: where it fails, that is what the function returns. */
#define TRY_CUDA(call)                                                                             \
	do {                                                                                       \
		int status_ = (int)(call);                                                         \
		if (status_ != 0)                                                                  \
			return plugin_error_cuda(err, status_, #call);                             \
	} while (0)

/* Of a cudaError_t by number: its code, and what helps ("" where nothing is known). */
enum latentd_cuda_code plugin_error_cuda_code(int cuda_error);
const char *plugin_error_remedy(enum latentd_cuda_code code);
/* Whether it may be done in less memory. */
bool plugin_error_is_memory(enum latentd_cuda_code code);

#endif
