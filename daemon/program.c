#include "daemon/program.h"

#include "base/checked.h"

#include <fcntl.h>
#include <jansson.h>
#include <malloc.h>
#include <signal.h>
#include <unistd.h>

void program_open_streams(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

/*
 * Pixels of a batch are freed together and wanted again at once. glibc would hand such blocks to the system each time, and
 * every page of the next image would be a fault: 1 % of a run. So up to a few batches stay with the process. Larger blocks,
 * weights and maps, have mappings of their own; otherwise glibc would take more and more of them from its heaps, where
 * what loading a model has freed stays between what is kept: 89 MiB with an encoder of Stable Diffusion's size.
 */
void program_set_allocators(void)
{
#ifdef __GLIBC__
	mallopt(M_MMAP_THRESHOLD, 4 << 20);
	mallopt(M_TRIM_THRESHOLD, 64 << 20);
#endif
	json_set_alloc_funcs(xmalloc, free);
}

void program_block_signals(bool hup)
{
	sigset_t signals;

	sigemptyset(&signals);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	if (hup)
		sigaddset(&signals, SIGHUP);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	signal(SIGPIPE, SIG_IGN);
}
