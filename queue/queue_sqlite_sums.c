/*
 * Checksums of the database's pages, which SQLite has none of: a VFS that lies above the default one and passes
 * everything on but reads and writes of pages.
 *
 * SQLite leaves the last 8 bytes of each page to us, if the database was made so (byte 20 of its header says it). A page
 * gets the XXH3-64 of its other bytes, seeded with its place, whenever it is written to the database file; a page that
 * is read must have it, otherwise the read fails with SQLITE_IOERR_DATA. So a flipped bit, a page of zeros, a page that
 * was written to the wrong place, or to nowhere while its neighbours were, is found when it is first read, before
 * anything is concluded from it. Pages in the log are not ours: SQLite's own checksums cut that back to its last
 * whole transaction, and a checkpoint, which copies pages into the database file, passes through here.
 */
#include "queue/queue_sqlite.h"

#include "base/hash.h"

#include <pthread.h>
#include <sqlite3.h>
#include <string.h>

#define PAGE_SIZE 4096 /* SQLite's default, which nothing here changes */
#define SUM_SIZE  8
#define HEADER	  105 /* of the first page: SQLite's file header, and how many tables there are */

/* The real file lies behind it. */
struct summed_file {
	sqlite3_file base;
	sqlite3_file *real;
	bool summed; /* its pages have checksums */
};

static sqlite3_vfs *real_vfs, summing_vfs;

static sqlite3_file *real_of(sqlite3_file *file)
{
	return ((struct summed_file *)file)->real;
}

/* -- pages ---------------------------------------------------------------------------------------- */

static bool is_page(int size, sqlite3_int64 offset)
{
	return size == PAGE_SIZE && offset % PAGE_SIZE == 0;
}

static uint32_t be32(const uint8_t *bytes)
{
	return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 |
	       bytes[3];
}

/*
 * Of the first page, or as much of it as its header. Another program may have something else in that room; but where
 * nothing is in the file yet, its name (application_id) is still in the log, and a checkpoint that a reader holds back
 * brings other pages into the file before it.
 */
static bool has_sums(const uint8_t *header)
{
	bool is_empty = be32(header + 60) == 0 && be32(header + 68) == 0 && header[103] == 0 &&
			header[104] == 0;

	return memcmp(header, "SQLite format 3", 16) == 0 &&
	       (header[16] << 8 | header[17]) == PAGE_SIZE && header[20] == SUM_SIZE &&
	       (be32(header + 68) == APPLICATION_ID || is_empty);
}

static void sum_of(const uint8_t *page, sqlite3_int64 offset, uint8_t sum[SUM_SIZE])
{
	uint64_t hash = hash64_of(page, PAGE_SIZE - SUM_SIZE, (uint64_t)(offset / PAGE_SIZE));

	for (int i = 0; i < SUM_SIZE; i++)
		sum[i] = (uint8_t)(hash >> 8 * i);
}

static int summed_read(sqlite3_file *file, void *data, int size, sqlite3_int64 offset)
{
	const struct summed_file *f = (const struct summed_file *)file;
	const uint8_t *page = data;
	int r = f->real->pMethods->xRead(f->real, data, size, offset);
	uint8_t sum[SUM_SIZE];

	if (r != SQLITE_OK || !f->summed || !is_page(size, offset))
		return r;
	sum_of(page, offset, sum);
	return memcmp(page + PAGE_SIZE - SUM_SIZE, sum, SUM_SIZE) == 0 ? SQLITE_OK
								       : SQLITE_IOERR_DATA;
}

static int summed_write(sqlite3_file *file, const void *data, int size, sqlite3_int64 offset)
{
	struct summed_file *f = (struct summed_file *)file;
	uint8_t page[PAGE_SIZE];

	if (offset == 0 && size >= HEADER)
		f->summed = has_sums(data);
	if (!f->summed || !is_page(size, offset))
		return f->real->pMethods->xWrite(f->real, data, size, offset);
	memcpy(page, data, PAGE_SIZE - SUM_SIZE);
	sum_of(page, offset, page + PAGE_SIZE - SUM_SIZE);
	return f->real->pMethods->xWrite(f->real, page, size, offset);
}

/* -- what only goes through ----------------------------------------------------------------------- */

static int summed_close(sqlite3_file *file)
{
	return real_of(file)->pMethods->xClose(real_of(file));
}

static int summed_truncate(sqlite3_file *file, sqlite3_int64 size)
{
	return real_of(file)->pMethods->xTruncate(real_of(file), size);
}

static int summed_sync(sqlite3_file *file, int flags)
{
	return real_of(file)->pMethods->xSync(real_of(file), flags);
}

static int summed_size(sqlite3_file *file, sqlite3_int64 *size)
{
	return real_of(file)->pMethods->xFileSize(real_of(file), size);
}

static int summed_lock(sqlite3_file *file, int level)
{
	return real_of(file)->pMethods->xLock(real_of(file), level);
}

static int summed_unlock(sqlite3_file *file, int level)
{
	return real_of(file)->pMethods->xUnlock(real_of(file), level);
}

static int summed_check_reserved(sqlite3_file *file, int *out)
{
	return real_of(file)->pMethods->xCheckReservedLock(real_of(file), out);
}

static int summed_control(sqlite3_file *file, int op, void *arg)
{
	return real_of(file)->pMethods->xFileControl(real_of(file), op, arg);
}

static int summed_sector_size(sqlite3_file *file)
{
	return real_of(file)->pMethods->xSectorSize(real_of(file));
}

static int summed_characteristics(sqlite3_file *file)
{
	return real_of(file)->pMethods->xDeviceCharacteristics(real_of(file));
}

static int summed_shm_map(sqlite3_file *file, int page, int size, int extend, void volatile **out)
{
	return real_of(file)->pMethods->xShmMap(real_of(file), page, size, extend, out);
}

static int summed_shm_lock(sqlite3_file *file, int offset, int n, int flags)
{
	return real_of(file)->pMethods->xShmLock(real_of(file), offset, n, flags);
}

static void summed_shm_barrier(sqlite3_file *file)
{
	real_of(file)->pMethods->xShmBarrier(real_of(file));
}

static int summed_shm_unmap(sqlite3_file *file, int remove)
{
	return real_of(file)->pMethods->xShmUnmap(real_of(file), remove);
}

static const sqlite3_io_methods methods = {
    .iVersion = 2, /* no xFetch: pages that are mapped would not be read */
    .xClose = summed_close,
    .xRead = summed_read,
    .xWrite = summed_write,
    .xTruncate = summed_truncate,
    .xSync = summed_sync,
    .xFileSize = summed_size,
    .xLock = summed_lock,
    .xUnlock = summed_unlock,
    .xCheckReservedLock = summed_check_reserved,
    .xFileControl = summed_control,
    .xSectorSize = summed_sector_size,
    .xDeviceCharacteristics = summed_characteristics,
    .xShmMap = summed_shm_map,
    .xShmLock = summed_shm_lock,
    .xShmBarrier = summed_shm_barrier,
    .xShmUnmap = summed_shm_unmap,
};

/* -- the VFS -------------------------------------------------------------------------------------- */

/* Of what is opened only the database itself is summed; log, journals and temporary files are the real VFS's. */
static int summed_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *out)
{
	struct summed_file *f = (struct summed_file *)file;
	uint8_t header[HEADER];
	int r;

	(void)vfs;
	if (!(flags & SQLITE_OPEN_MAIN_DB))
		return real_vfs->xOpen(real_vfs, name, file, flags, out);
	*f = (struct summed_file){.real = (sqlite3_file *)(f + 1)};
	r = real_vfs->xOpen(real_vfs, name, f->real, flags, out);
	if (r != SQLITE_OK)
		return r;
	f->base.pMethods = &methods; /* SQLite closes it, whatever is returned */
	r = f->real->pMethods->xRead(f->real, header, sizeof(header), 0);
	if (r != SQLITE_OK && r != SQLITE_IOERR_SHORT_READ) /* what it has is not known */
		return r;
	f->summed = r == SQLITE_OK && has_sums(header);
	return SQLITE_OK;
}

static void make_vfs(void)
{
	real_vfs = sqlite3_vfs_find(NULL);
	if (!real_vfs)
		return;
	/* All else is called with this one's pointer, and needs nothing of it but what is copied. */
	summing_vfs = *real_vfs;
	summing_vfs.zName = "latentd-sums";
	summing_vfs.szOsFile = (int)sizeof(struct summed_file) + real_vfs->szOsFile;
	summing_vfs.xOpen = summed_open;
	if (sqlite3_vfs_register(&summing_vfs, 0) != SQLITE_OK)
		real_vfs = NULL;
}

const char *page_sums_vfs(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, make_vfs);
	return real_vfs ? summing_vfs.zName : NULL;
}

void page_sums_ask(struct sqlite3 *db)
{
	int room = SUM_SIZE;

	sqlite3_file_control(db, "main", SQLITE_FCNTL_RESERVE_BYTES, &room);
}
