#include "tests/crash/vfs_shim.h"

#include <assert.h>
#include <sqlite3.h>
#include <string.h>

const char *const vfs_call_names[VFS_CALLS] = {"open", "read", "write", "truncate",
					       "sync", "size", "lock",	"shm-map"};
const char *const vfs_fault_names[VFS_FAULTS] = {"fails", "half", "full", "fails for ever"};

/* The real file lies behind it. */
struct shim_file {
	sqlite3_file base;
	sqlite3_file *real;
};

static sqlite3_vfs *real_vfs, shim_vfs;
static sqlite3_io_methods methods;

static struct {
	bool armed, fired;
	enum vfs_call call;
	unsigned n, seen;
	enum vfs_fault fault;
} plan;

static bool fails(enum vfs_call call)
{
	if (!plan.armed || call != plan.call)
		return false;
	plan.seen++;
	if (plan.seen != plan.n && !(plan.seen > plan.n && plan.fault == VFS_FAILS_EVER))
		return false;
	plan.fired = true;
	return true;
}

static int code(int io_error)
{
	return plan.fault == VFS_FULL ? SQLITE_FULL : io_error;
}

static sqlite3_file *real_of(sqlite3_file *file)
{
	return ((struct shim_file *)file)->real;
}

/* -- what can fail --------------------------------------------------------------------------------- */

static int shim_read(sqlite3_file *file, void *data, int size, sqlite3_int64 offset)
{
	sqlite3_file *real = real_of(file);

	if (!fails(VFS_READ))
		return real->pMethods->xRead(real, data, size, offset);
	if (plan.fault == VFS_HALF)
		real->pMethods->xRead(real, data, size / 2, offset);
	return SQLITE_IOERR_READ;
}

static int shim_write(sqlite3_file *file, const void *data, int size, sqlite3_int64 offset)
{
	sqlite3_file *real = real_of(file);

	if (!fails(VFS_WRITE))
		return real->pMethods->xWrite(real, data, size, offset);
	if (plan.fault == VFS_HALF)
		real->pMethods->xWrite(real, data, size / 2, offset);
	return code(SQLITE_IOERR_WRITE);
}

static int shim_truncate(sqlite3_file *file, sqlite3_int64 size)
{
	sqlite3_file *real = real_of(file);

	return fails(VFS_TRUNCATE) ? SQLITE_IOERR_TRUNCATE : real->pMethods->xTruncate(real, size);
}

static int shim_sync(sqlite3_file *file, int flags)
{
	sqlite3_file *real = real_of(file);

	return fails(VFS_SYNC) ? code(SQLITE_IOERR_FSYNC) : real->pMethods->xSync(real, flags);
}

static int shim_size(sqlite3_file *file, sqlite3_int64 *size)
{
	sqlite3_file *real = real_of(file);

	return fails(VFS_SIZE) ? SQLITE_IOERR_FSTAT : real->pMethods->xFileSize(real, size);
}

static int shim_lock(sqlite3_file *file, int level)
{
	sqlite3_file *real = real_of(file);

	return fails(VFS_LOCK) ? SQLITE_IOERR_LOCK : real->pMethods->xLock(real, level);
}

static int shim_shm_map(sqlite3_file *file, int page, int size, int extend, void volatile **out)
{
	sqlite3_file *real = real_of(file);

	if (fails(VFS_SHM_MAP)) {
		*out = NULL;
		return code(SQLITE_IOERR_SHMMAP);
	}
	return real->pMethods->xShmMap(real, page, size, extend, out);
}

/* -- what only goes through ----------------------------------------------------------------------- */

static int shim_close(sqlite3_file *file)
{
	sqlite3_file *real = real_of(file);

	return real->pMethods->xClose(real);
}

static int shim_unlock(sqlite3_file *file, int level)
{
	sqlite3_file *real = real_of(file);

	return real->pMethods->xUnlock(real, level);
}

static int shim_check_reserved(sqlite3_file *file, int *out)
{
	sqlite3_file *real = real_of(file);

	return real->pMethods->xCheckReservedLock(real, out);
}

static int shim_control(sqlite3_file *file, int op, void *arg)
{
	sqlite3_file *real = real_of(file);

	return real->pMethods->xFileControl(real, op, arg);
}

static int shim_sector_size(sqlite3_file *file)
{
	sqlite3_file *real = real_of(file);

	return real->pMethods->xSectorSize(real);
}

static int shim_characteristics(sqlite3_file *file)
{
	sqlite3_file *real = real_of(file);

	return real->pMethods->xDeviceCharacteristics(real);
}

static int shim_shm_lock(sqlite3_file *file, int offset, int n, int flags)
{
	sqlite3_file *real = real_of(file);

	return real->pMethods->xShmLock(real, offset, n, flags);
}

static void shim_shm_barrier(sqlite3_file *file)
{
	sqlite3_file *real = real_of(file);

	real->pMethods->xShmBarrier(real);
}

static int shim_shm_unmap(sqlite3_file *file, int remove)
{
	sqlite3_file *real = real_of(file);

	return real->pMethods->xShmUnmap(real, remove);
}

static sqlite3_io_methods methods = {
    .iVersion = 2, /* no xFetch: mapping of the file is off */
    .xClose = shim_close,
    .xRead = shim_read,
    .xWrite = shim_write,
    .xTruncate = shim_truncate,
    .xSync = shim_sync,
    .xFileSize = shim_size,
    .xLock = shim_lock,
    .xUnlock = shim_unlock,
    .xCheckReservedLock = shim_check_reserved,
    .xFileControl = shim_control,
    .xSectorSize = shim_sector_size,
    .xDeviceCharacteristics = shim_characteristics,
    .xShmMap = shim_shm_map,
    .xShmLock = shim_shm_lock,
    .xShmBarrier = shim_shm_barrier,
    .xShmUnmap = shim_shm_unmap,
};

/* -- the VFS --------------------------------------------------------------------------------------- */

static int shim_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *out)
{
	struct shim_file *shim = (struct shim_file *)file;
	int r;

	(void)vfs;
	shim->base.pMethods = NULL;
	if (fails(VFS_OPEN))
		return SQLITE_CANTOPEN;
	shim->real = (sqlite3_file *)(shim + 1);
	r = real_vfs->xOpen(real_vfs, name, shim->real, flags, out);
	if (r == SQLITE_OK)
		shim->base.pMethods = &methods;
	return r;
}

void vfs_shim_register(void)
{
	real_vfs = sqlite3_vfs_find(NULL);
	assert(real_vfs);
	/* All else is called with this one's pointer, and needs nothing of it but what is copied. */
	shim_vfs = *real_vfs;
	shim_vfs.zName = "shim";
	shim_vfs.szOsFile = (int)sizeof(struct shim_file) + real_vfs->szOsFile;
	shim_vfs.xOpen = shim_open;
	sqlite3_vfs_register(&shim_vfs, 1);
}

void vfs_shim_arm(enum vfs_call call, unsigned n, enum vfs_fault fault)
{
	memset(&plan, 0, sizeof(plan));
	plan.call = call;
	plan.n = n;
	plan.fault = fault;
	plan.armed = true;
}

bool vfs_shim_disarm(void)
{
	plan.armed = false;
	return plan.fired;
}
