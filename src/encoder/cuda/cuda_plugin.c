/* The plugin's one symbol, and the table behind it. */
#include "device_cuda.h"
#include "gpu_engine.h"
#include "gpu_model.h"
#include "handshake.h"

static const struct latentd_cuda_api api = {
    .abi = LATENTD_CUDA_ABI,
    .size = sizeof(struct latentd_cuda_api),
    .version = LATENTD_VERSION,
    .devices = device_cuda_list,
    .model_open = gpu_model_open,
    .model_close = gpu_model_close,
    .engine_open = gpu_engine_open,
    .engine_close = gpu_engine_close,
    .caps = gpu_engine_caps,
    .submit = gpu_engine_submit,
    .collect = gpu_engine_collect,
    .cancel = gpu_engine_cancel,
    .ticks = gpu_engine_ticks,
    .usage = gpu_engine_usage,
};

__attribute__((visibility("default"))) const struct latentd_cuda_api *
latentd_cuda_plugin(const struct latentd_cuda_handshake *host, struct latentd_cuda_error *err);

const struct latentd_cuda_api *latentd_cuda_plugin(const struct latentd_cuda_handshake *host,
						   struct latentd_cuda_error *err)
{
	return handshake_check(host, err) < 0 ? NULL : &api;
}
