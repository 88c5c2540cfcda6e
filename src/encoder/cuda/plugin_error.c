#include "plugin_error.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

const char *plugin_error_remedy(enum latentd_cuda_code code)
{
	switch (code) {
	case LATENTD_CUDA_NO_DRIVER:
		return "install the NVIDIA driver, or start the container with --gpus all";
	case LATENTD_CUDA_OLD_DRIVER:
		return "update the NVIDIA driver, or use a latentd-cuda.so built with an older "
		       "CUDA";
	case LATENTD_CUDA_NO_DEVICE:
		return "look at nvidia-smi -L and CUDA_VISIBLE_DEVICES";
	case LATENTD_CUDA_WRONG_DEVICE:
		return "compute capability 8.0 or newer is needed; use the cpu encoder on this "
		       "machine";
	case LATENTD_CUDA_WRONG_LIBRARY:
		return "install cuDNN 9 and cuBLAS of the CUDA version that latentd-cuda.so was "
		       "built "
		       "with";
	case LATENTD_CUDA_NO_MEMORY:
		return "lower gpu_memory, or stop what else uses the GPU";
	case LATENTD_CUDA_TOO_LARGE:
		return "raise gpu_memory, or encode smaller images";
	case LATENTD_CUDA_DEVICE_LOST:
		return "look for Xid in the kernel's log; the GPU works again after a restart of "
		       "the "
		       "daemon, a reset (nvidia-smi -r) or of the machine";
	case LATENTD_CUDA_ECC:
		return "the GPU's memory is failing: drain it, look at nvidia-smi -q -d ECC, and "
		       "reset "
		       "it";
	case LATENTD_CUDA_ABI_MISMATCH:
		return "install latentd and latentd-cuda.so of the same version";
	default:
		return "";
	}
}

bool plugin_error_is_memory(enum latentd_cuda_code code)
{
	return code == LATENTD_CUDA_NO_MEMORY || code == LATENTD_CUDA_TOO_LARGE;
}

static int set(struct latentd_cuda_error *err, enum latentd_cuda_code code, const char *cause)
{
	const char *remedy = plugin_error_remedy(code);

	if (!err || err->code != LATENTD_CUDA_OK)
		return -1;
	err->code = code;
	snprintf(err->message, sizeof(err->message), "%s%s%s", cause, remedy[0] ? "; " : "",
		 remedy);
	return -1;
}

int plugin_error_set(struct latentd_cuda_error *err, enum latentd_cuda_code code,
		     const char *format, ...)
{
	char cause[400];
	va_list args;

	va_start(args, format);
	vsnprintf(cause, sizeof(cause), format, args);
	va_end(args);
	return set(err, code, cause);
}

int plugin_error_memory(struct latentd_cuda_error *err, size_t bytes)
{
	return plugin_error_set(err, LATENTD_CUDA_NO_MEMORY, "no %zu bytes of memory", bytes);
}

int plugin_error_pass(struct latentd_cuda_error *err, const struct latentd_cuda_error *from)
{
	if (err && err->code == LATENTD_CUDA_OK)
		*err = *from;
	return -1;
}

/* Numbers of cudaError_t (driver_types.h): stable since CUDA 10.1. */
struct cuda_cause {
	int number;
	enum latentd_cuda_code code;
	const char *cause;
};

static const struct cuda_cause cuda_causes[] = {
    {2, LATENTD_CUDA_NO_MEMORY, "the GPU has no memory left"},
    {3, LATENTD_CUDA_NO_DRIVER, "CUDA could not be initialised"},
    {34, LATENTD_CUDA_NO_DRIVER, "CUDA found a stub instead of a driver"},
    {35, LATENTD_CUDA_OLD_DRIVER, "the NVIDIA driver is older than this CUDA runtime"},
    {36, LATENTD_CUDA_OLD_DRIVER, "the NVIDIA driver is older than this CUDA runtime"},
    {46, LATENTD_CUDA_NO_DEVICE, "the GPU is in use by another process, exclusively"},
    {100, LATENTD_CUDA_NO_DEVICE, "CUDA sees no GPU"},
    {101, LATENTD_CUDA_NO_DEVICE, "there is no GPU of that number"},
    {209, LATENTD_CUDA_WRONG_DEVICE, "latentd-cuda.so has no code for this GPU"},
    {214, LATENTD_CUDA_ECC, "the GPU's memory had an error that ECC could not correct"},
    {218, LATENTD_CUDA_WRONG_DEVICE, "the driver could not compile the code for this GPU"},
    {222, LATENTD_CUDA_OLD_DRIVER, "the driver is older than the PTX of latentd-cuda.so"},
    {220, LATENTD_CUDA_DEVICE_LOST, "an NVLink had an error that could not be corrected"},
    {226, LATENTD_CUDA_ECC, "the GPU's memory had an error, and what computed with it was ended"},
    {700, LATENTD_CUDA_DEVICE_LOST, "the GPU read or wrote where it may not (Xid 13 or 31)"},
    {702, LATENTD_CUDA_DEVICE_LOST, "a kernel ran longer than the GPU's watchdog allows"},
    {709, LATENTD_CUDA_DEVICE_LOST, "the GPU's context is gone"},
    {710, LATENTD_CUDA_DEVICE_LOST, "an assertion failed on the GPU"},
    {714, LATENTD_CUDA_DEVICE_LOST, "the GPU's hardware reported a stack error"},
    {715, LATENTD_CUDA_DEVICE_LOST, "the GPU met an illegal instruction"},
    {716, LATENTD_CUDA_DEVICE_LOST, "the GPU met a misaligned address"},
    {717, LATENTD_CUDA_DEVICE_LOST, "the GPU met an invalid address space"},
    {718, LATENTD_CUDA_DEVICE_LOST, "the GPU met an invalid program counter"},
    {719, LATENTD_CUDA_DEVICE_LOST, "a kernel failed on the GPU"},
    {721, LATENTD_CUDA_DEVICE_LOST, "a kernel left the GPU's tensor memory in disorder"},
    {800, LATENTD_CUDA_NO_DEVICE, "this process may not use the GPU"},
    {802, LATENTD_CUDA_NO_DRIVER, "the system is not ready (on HGX machines: nv-fabricmanager)"},
    {803, LATENTD_CUDA_OLD_DRIVER,
     "the driver's kernel module and its libraries differ in version"},
    {804, LATENTD_CUDA_OLD_DRIVER, "the forward compatibility package does not support this GPU"},
    {805, LATENTD_CUDA_NO_DEVICE, "CUDA's multi-process service (MPS) is not to be reached"},
    {806, LATENTD_CUDA_DEVICE_LOST, "CUDA's multi-process service (MPS) does not answer any more"},
    {807, LATENTD_CUDA_NO_DEVICE, "CUDA's multi-process service (MPS) is not ready"},
    {808, LATENTD_CUDA_NO_DEVICE,
     "CUDA's multi-process service (MPS) has as many clients as it takes"},
    {810, LATENTD_CUDA_DEVICE_LOST,
     "another client of CUDA's multi-process service (MPS) failed, and all with it"},
    {999, LATENTD_CUDA_DEVICE_LOST, "the GPU does not answer (Xid 79: it fell off the bus)"},
};

/* CUDA calls a driver that is not there too old. */
static const struct cuda_cause no_driver = {
    35, LATENTD_CUDA_NO_DRIVER, "there is no NVIDIA driver, or this container does not see it"};

static bool sees_driver(void)
{
	return access("/dev/nvidiactl", F_OK) == 0 || access("/proc/driver/nvidia", F_OK) == 0;
}

static const struct cuda_cause *find(int number)
{
	if (number == no_driver.number && !sees_driver())
		return &no_driver;
	for (size_t i = 0; i < sizeof(cuda_causes) / sizeof(cuda_causes[0]); i++) {
		if (cuda_causes[i].number == number)
			return &cuda_causes[i];
	}
	return NULL;
}

enum latentd_cuda_code plugin_error_cuda_code(int cuda_error)
{
	const struct cuda_cause *cause = find(cuda_error);

	return cause ? cause->code : LATENTD_CUDA_BUG;
}

int plugin_error_cuda(struct latentd_cuda_error *err, int cuda_error, const char *what)
{
	const struct cuda_cause *cause = find(cuda_error);

	if (!cause)
		return plugin_error_set(err, LATENTD_CUDA_BUG, "%s: CUDA error %d", what,
					cuda_error);
	return plugin_error_set(err, cause->code, "%s (CUDA error %d: %s)", cause->cause,
				cuda_error, what);
}

/* cudnnStatus_t of cuDNN 9: thousands are categories (cudnn_graph.h). */
int plugin_error_cudnn(struct latentd_cuda_error *err, int cudnn_status, const char *what)
{
	enum latentd_cuda_code code = LATENTD_CUDA_BUG;

	if (cudnn_status / 1000 == 1)
		code = LATENTD_CUDA_WRONG_LIBRARY;
	else if (cudnn_status / 1000 == 3)
		code = LATENTD_CUDA_UNSUPPORTED;
	else if (cudnn_status / 1000 == 5)
		code = LATENTD_CUDA_DEVICE_LOST;
	if (cudnn_status == 4003 || cudnn_status == 4004) /* of the host, of the device */
		code = LATENTD_CUDA_NO_MEMORY;
	return plugin_error_set(err, code, "%s: cuDNN status %d", what, cudnn_status);
}

/* cublasStatus_t (cublas_api.h). */
int plugin_error_cublas(struct latentd_cuda_error *err, int cublas_status, const char *what)
{
	enum latentd_cuda_code code = LATENTD_CUDA_BUG;

	if (cublas_status == 1)
		code = LATENTD_CUDA_WRONG_LIBRARY;
	else if (cublas_status == 3)
		code = LATENTD_CUDA_NO_MEMORY;
	else if (cublas_status == 8)
		code = LATENTD_CUDA_WRONG_DEVICE;
	else if (cublas_status == 13)
		code = LATENTD_CUDA_DEVICE_LOST;
	else if (cublas_status == 15)
		code = LATENTD_CUDA_UNSUPPORTED;
	return plugin_error_set(err, code, "%s: cuBLAS status %d", what, cublas_status);
}
