#include "conv_problem.h"

#include <stdio.h>

int64_t conv_problem_out_height(const struct conv_problem *p)
{
	return (p->height + p->pad_top + p->pad_bottom - p->kernel) / p->stride + 1;
}

int64_t conv_problem_out_width(const struct conv_problem *p)
{
	return (p->width + p->pad_left + p->pad_right - p->kernel) / p->stride + 1;
}

void conv_problem_key(const struct conv_problem *p, char *out, size_t size)
{
	snprintf(out, size, "n%lld %lldx%lldx%lld o%lld k%lld s%lld p%lld,%lld,%lld,%lld %s%s e%d",
		 (long long)p->n, (long long)p->height, (long long)p->width, (long long)p->in,
		 (long long)p->out, (long long)p->kernel, (long long)p->stride,
		 (long long)p->pad_top, (long long)p->pad_bottom, (long long)p->pad_left,
		 (long long)p->pad_right, latentd_cuda_dtype_name(p->dtype), p->tf32 ? " tf32" : "",
		 (int)p->epilogue);
}
