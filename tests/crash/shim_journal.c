/*
 * The journal is a row of entries, each: u32 op, u32 handle, u64 number, u32 length of name, u32 length of data
 * (little-endian, as the machine has them), then name and data.
 */
#include "tests/crash/shim.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static int journal_fd = -1;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

void shim_journal_open(const char *path)
{
	journal_fd = (int)syscall(SYS_openat, AT_FDCWD, path,
				  O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0644);
}

void shim_journal_lock(void)
{
	if (journal_fd >= 0)
		pthread_mutex_lock(&lock);
}

void shim_journal_unlock(void)
{
	if (journal_fd >= 0)
		pthread_mutex_unlock(&lock);
}

void shim_journal(enum journal_op op, uint32_t handle, uint64_t number, const char *name,
		  const void *data, size_t size)
{
	struct {
		uint32_t op, handle;
		uint64_t number;
		uint32_t name_size, data_size;
	} head = {op, handle, number, name ? (uint32_t)strlen(name) : 0, (uint32_t)size};
	struct iovec parts[3] = {
	    {&head, sizeof(head)}, {(char *)name, head.name_size}, {(void *)data, size}};

	if (journal_fd < 0)
		return;
	if (syscall(SYS_writev, journal_fd, parts, 3) !=
	    (long)(sizeof(head) + head.name_size + size)) {
		fprintf(stderr, "shim: the journal cannot be written\n");
		_exit(78);
	}
}
