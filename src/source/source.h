/*
 * Where samples come from. A source lists what is there, in a stable order, and opens one sample's
 * bytes when they are wanted.
 *
 *	struct source *s = NULL;
 *	source_folder_open("/data/photos", &options, &s, err);
 *	while ((r = source_next(s, &entry, err)) == 0)          entry is valid until the next call
 *		...
 *	fd = source_open_sample(s, "a/b.jpg", err);             while listing or long after
 *	source_close(s);
 *
 * Paths are bytes, relative to the source, '/' between parts: any name the file system allows.
 * One thread at a time.
 */
#ifndef LATENTD_SOURCE_SOURCE_H
#define LATENTD_SOURCE_SOURCE_H

#include "base/buffer.h"
#include "source/source_choice.h"

#include <stdbool.h>
#include <stdint.h>

#define SOURCE_END	    1
#define SOURCE_NO_CAPTION   1
#define SOURCE_NO_META	    1
#define SOURCE_NO_MASK	    1
#define SOURCE_GONE	    1
#define SOURCE_CAPTION_MAX  ((size_t)1 << 20)
#define SOURCE_MASK_MAX	    ((size_t)64 << 20)
#define SOURCE_MASKS_BESIDE "beside"
#define SOURCE_UNSEEN	    UINT64_MAX

struct source_entry {
	const char *path; /* relative, NUL-terminated bytes */
	uint64_t size;	  /* what the file is known by between scans */
	int64_t mtime_ns;
	uint64_t inode;
	/*
	 * Of its caption: a number of 48 bits that changes with the file's size, mtime or inode. 0: there is
	 * none; SOURCE_UNSEEN: nobody looked, or it cannot be examined.
	 */
	uint64_t caption;
	/* The same of its metadata, where they are known before the sample is opened; 0: there are none. */
	uint64_t meta;
	/* The same of its mask, of what is in no archive; 0: none is known. */
	uint64_t mask;
	/* Of a member of an archive: what its key is made from, like a path. NULL: its path. */
	const char *key;
	/* So many bytes of its path name the archive that it is in. */
	size_t archive;
	/* Its place in there, from 1, where members are read fast only in their order. 0: in any order. */
	uint64_t place;
};

struct remote_fetch;
struct source;
struct source_folder_options;
struct unpack;

/*
 * A sample that is fetched from elsewhere, with what belongs to it, while others are:
 *
 *	source_order_prepare(s, &order, err)      may wait
 *	if (source_order_waits(&order))
 *		source_order_start(&order)        returns at once; done is called on a thread of the source's, or before
 *	source_order_finish(s, &order, err)       may wait
 *	source_order_release(&order)              in any case, but not between start and done; also without its source
 */
struct source_order {
	const char *path;			  /* lives as long as the order */
	void (*done)(struct source_order *order); /* when the source is closed, at the latest */
	void *arg;				  /* not touched */
	bool wants_caption, wants_meta, wants_mask;
	/* The result: the descriptor, and as source_caption(), source_meta() and source_mask() would have it, what is wanted. */
	int fd; /* the caller's, -1 */
	bool has_caption;
	struct buffer caption, meta, mask;
	/*
	 * Of an error: where it lies cannot be reached now, and nothing is known about this sample; it may be asked for again in
	 * so many milliseconds. 0: an error like others.
	 */
	int64_t put_off_ms;
	struct remote_fetch *fetch; /* private */
};

#define SOURCE_ORDER_INIT                                                                          \
	{                                                                                          \
		.fd = -1                                                                           \
	}

struct source_ops {
	const char *name; /* "folder", "archive", "manifest", "urls", "s3", "memory" */

	/*
	 * The next entry, always in the same order: byte order of the paths; within an archive
	 * as its members stand, and a manifest's as its lines do. SOURCE_END after the last one, and from then on. A file that is there but cannot be examined (no permission, a
	 * dangling link) is an entry with size, mtime and inode 0: opening it says what is wrong.
	 * After an error (ERR_IO, ERR_TRANSIENT, ERR_NOMEM) the next call tries the same place
	 * again; nothing was passed over.
	 */
	int (*next)(struct source *s, struct source_entry *entry, struct error *err);

	/*
	 * Fills @entry (its path is @path) as next would, if the file had a name that it lists.
	 * SOURCE_GONE: there is no such file. ERR_TRANSIENT, ERR_IO: nothing is known: no descriptors left, a stale handle.
	 */
	int (*examine)(struct source *s, const char *path, struct source_entry *entry,
		       struct error *err);

	/*
	 * A descriptor on the sample's bytes, positioned at 0, of a regular file. ERR_DATA:
	 * `not_regular` (a FIFO, device or folder; nothing of it was opened), `unreadable`
	 * (permission, a loop of links), `gone` (no longer there). ERR_TRANSIENT: no descriptors
	 * left, a stale handle.
	 */
	int (*open_sample)(struct source *s, const char *path, struct error *err);

	/*
	 * Puts into order->fetch what is to be fetched; takes the descriptor out of it, and what is wanted and
	 * came with it. What is under way when the source is closed ends with ERR_TRANSIENT. NULL, both: none is remote.
	 */
	int (*prepare)(struct source *s, struct source_order *order, struct error *err);
	int (*finish)(struct source *s, struct source_order *order, struct error *err);

	/* Of one that is remote: source_drop_at_hand(). NULL: nothing is kept. */
	void (*drop_at_hand)(struct source *s, const char *path);

	/*
	 * Appends the bytes of the caption that belongs to @path as they are, at most
	 * SOURCE_CAPTION_MAX; or SOURCE_NO_CAPTION. source_caption() cleans them.
	 */
	int (*caption)(struct source *s, const char *path, struct buffer *out, struct error *err);

	/*
	 * Appends what is known of @path beyond its caption, a JSON object; or SOURCE_NO_META. NULL: always that.
	 */
	int (*meta)(struct source *s, const char *path, struct buffer *out, struct error *err);

	/*
	 * As open_sample, the mask that the source itself names for @path; ERR_DATA `gone`: none. It sets entry->mask of what has
	 * one, where source.masks_beside is set. NULL: it names none.
	 */
	int (*open_mask)(struct source *s, const char *path, struct error *err);

	/* source_keep_lists(). NULL: it needs none. */
	void (*keep_lists)(struct source *s, const char *folder);

	void (*close)(struct source *s);
};

struct source {
	const struct source_ops *ops;
	bool urls;    /* its paths may be URLs, which are not inside */
	bool remote;  /* all of it is elsewhere */
	size_t ahead; /* source_ahead() */
	bool masks_beside;
	bool has_mask_root;
	int mask_root; /* where it has one */
};

/* Where masks lie beside their images those are passed over: they are no images of their own. */
int source_next(struct source *s, struct source_entry *entry, struct error *err);
/* Also ERR_DATA `outside` for a path that could leave the source. */
int source_examine(struct source *s, const char *path, struct source_entry *entry,
		   struct error *err);
/* The descriptor, the caller's. Also ERR_DATA `outside` for a path that could leave the source. */
int source_open_sample(struct source *s, const char *path, struct error *err);
/* Whether a sample is fetched from elsewhere: its source takes orders. Any thread. */
bool source_is_remote(const struct source *s, const char *path);
/* So many of these should be wanted at once. 0: none is remote. */
size_t source_ahead(const struct source *s);
/* All of its samples may be ordered: those that are files here, too, of which a part may be elsewhere. Any thread. */
bool source_takes_orders(const struct source *s);
int source_order_prepare(struct source *s, struct source_order *order, struct error *err);
/* Something must be fetched. */
bool source_order_waits(const struct source_order *order);
/* Any thread, while others use the source. */
void source_order_start(struct source_order *order);
int source_order_finish(struct source *s, struct source_order *order, struct error *err);
void source_order_release(struct source_order *order);
/* What is at hand of it is no image: the next time it is fetched. Any thread. */
void source_drop_at_hand(struct source *s, const char *path);
/*
 * Appends the caption: for a file, the text beside it (companions.h). Valid UTF-8 without
 * byte order mark and without trailing white space (ASCII); bytes that are not UTF-8 become U+FFFD.
 * SOURCE_NO_CAPTION, nothing appended, if there is none: an empty one is 0 with nothing appended.
 * ERR_DATA as open_sample, and `too_large`.
 */
int source_caption(struct source *s, const char *path, struct buffer *out, struct error *err);
/* SOURCE_NO_META, nothing appended, if nothing is known. ERR_DATA as open_sample. */
int source_meta(struct source *s, const char *path, struct buffer *out, struct error *err);
/*
 * Appends the file that is the mask of @path: the one that its line in a manifest names; of "a/b.jpg" "a/b-mask.png" of the same folder or archive, or "a/b.png" in the folder of
 * masks; also with the other endings of source_path_mask_ending(). SOURCE_NO_MASK: there is none, or none is looked for. ERR_DATA as open_sample, and `too_large`; `mask`: it is empty.
 */
int source_mask(struct source *s, const char *path, struct buffer *out, struct error *err);
/* Whether the mask of @path stands behind it in an archive that is read fast only in its order: then it is best read after it. */
bool source_mask_follows(struct source *s, const char *path);
/* What source_caption makes of a caption's bytes; appends to @out. */
void source_caption_clean(const struct buffer *raw, struct buffer *out);
/*
 * Before it is used: what it found in archives is kept in @folder, which is its own and is made when needed: an archive
 * that is the same the next time is not read again to list it. So is what servers said of files that were fetched.
 */
void source_keep_lists(struct source *s, const char *folder);
/* NULL is fine. */
void source_close(struct source *s);

/* Opens a folder of masks. ERR_CONFIG: it is not there, or empty, as if its disk were not mounted. */
int source_masks_open(const char *path, struct error *err);
/* The folder, archive, manifest or list @path, or bucket s3://..., whichever it is. ERR_CONFIG: it is none of them, or may not be read. */
int source_open(const char *path, const struct source_folder_options *options, struct source **out,
		struct error *err);

/* How a manifest is read. NULL: the folder that it is in, and the columns that are usual (manifest_record.h). */
struct source_manifest_options {
	const char *root, *path_column, *caption_column;
};

/* How files elsewhere are fetched; zeros and NULL are what is usual. */
struct source_remote_options {
	size_t connections; /* in all; 32 */
	size_t per_host;    /* to one server that is no store of buckets; 4 */
	double rate;	    /* requests a second to one server; as fast as it goes */
	uint64_t bytes_max; /* of a file; 256 MiB */
	int64_t recheck_ms; /* what a server said so long ago is asked again; 0: never */
	const char *cache;  /* folder of what was fetched, for the next time; NULL: none */
	uint64_t cache_bytes;
	bool private_hosts; /* servers on this machine and in its networks too */
};

/* -- folder ------------------------------------------------------------------------------------ */

/*
 * Files with the extension of an image format (jpg jpeg jpe jfif png webp gif bmp tif tiff avif jxl
 * heic heif, any case; formats this build cannot decode are listed too, so that they are reported
 * and not silently left out), in all folders below @path, in byte order of their paths, as far as
 * options->choice takes them; a folder or archive of which it takes nothing is not opened. Whatever has such a name is
 * listed, except folders: opening a FIFO says `not_regular`. Symbolic links to files are followed, to folders not, unless
 * options->choice.links says otherwise; where links to folders are followed, too, none leads back to where it is, and to one
 * folder only the first link is.
 *
 * Passed over and noted: a folder that may not be read or is gone, a link to a folder that is not followed, folders more
 * than SOURCE_FOLDER_DEPTH deep. Where a link leads to a folder with nothing in it, a disk may not be mounted: it is noted, and
 * counted in options->unread. Memory is bounded by the names of one folder on each level; one
 * descriptor is held per level.
 */
#define SOURCE_FOLDER_DEPTH 128

struct source_folder_options {
	bool recursive;
	struct source_choice choice; /* of folders and archives; copied */
	/*
	 * Where masks of images are (source_mask()): SOURCE_MASKS_BESIDE, or a folder. NULL: nowhere.
	 */
	const char *masks;
	bool
	    captions; /* looks for them and metadata while listing: a stat more for each that is there */
	bool
	    need_captions; /* what has none waits for one: whether a .json beside an image has one is read */
	/*
	 * Called with one line for what is passed over or odd (a folder with an image's name). May
	 * be NULL.
	 */
	void (*note)(void *arg, const char *line);
	void *note_arg;
	size_t *
	    unread; /* one more for each folder, archive or manifest that could not be read to its end, or not all of it; may be NULL */
	/* Who parses archives, asked for when the first is met; NULL: archives are passed over. */
	int (*unpack)(struct unpack **out, struct error *err);
	struct source_manifest_options manifest;
	struct source_remote_options remote;
	/*
	 * True: archive or manifest @entry may still be written, and nothing of it is listed. May be NULL.
	 */
	bool (*archive_waits)(void *arg, const struct source_entry *entry);
	void *archive_arg;
	/*
	 * Asked while a large folder or an archive is read, by whichever thread does that; true: next fails, and nothing is
	 * to be expected of it, and open_sample with ERR_TRANSIENT. May be NULL.
	 */
	bool (*stop)(void *arg);
	void *stop_arg;
};

/* ERR_CONFIG: @path is not there, not a folder, or may not be read. */
int source_folder_open(const char *path, const struct source_folder_options *options,
		       struct source **out, struct error *err);

/* -- archive ----------------------------------------------------------------------------------- */

/*
 * The images in one archive (unpack.h says of which kinds) with their captions and metadata (archive_index.h); paths
 * are those inside it, and hidden ones are left out. Found in a folder, an archive is like a folder of its name: "train.tar/a.jpg", with the key of
 * "train/a.jpg". An image that cannot be read, or is encrypted, is an entry like others: opening it says why.
 *
 * An archive that cannot be read, or not to its end, is an entry itself, behind the members before the damage: opening
 * it says what is wrong. In an archive by itself that entry has the archive's name without folders.
 *
 * An archive that changes while the source is open is listed again when one of its members is asked for.
 */
int source_archive_open(const char *path, const struct source_folder_options *options,
			struct source **out, struct error *err);

/* -- manifest ---------------------------------------------------------------------------------- */

/*
 * The images that a manifest names (manifest_record.h), in the order of its lines, each path once: the last line of a
 * path counts. Paths are below a root, and those of the source are relative to it: an absolute one must lie below it, ".."
 * is refused, and links are followed as in a folder source. What a name ends in does not matter.
 * A file that is not there is noted and passed over, as if no line named it; where the root is empty, a disk may not be mounted, and it is
 * counted in options->unread. A key of kohya's JSON without an image's ending is that of
 * the file that has one.
 *
 * A line may name the mask of its image (manifest_record.h), a file below the root or a URL, which is one mask for good, whatever the
 * image is; where it names none, a file has the mask beside it.
 *
 * A path may be a URL: it is what it is in a list of URLs (below), with the caption and metadata of its line.
 *
 * Captions and metadata are those of the manifest; an image that has none there has those of the files beside it. A line that cannot be used
 * is noted with its number, and counted in options->unread: what is not found then has not vanished.
 *
 * A manifest that changes is read again when something is asked of it; while it is being written that is ERR_TRANSIENT.
 */
int source_manifest_open(const char *path, const struct source_folder_options *options,
			 struct source **out, struct error *err);

/* -- list of URLs ------------------------------------------------------------------------------ */

/*
 * @path NULL: it lists nothing, and opens any URL. Otherwise the files that a list names: a URL of http, https or s3 in each line; empty lines and those that begin with '#' are passed over.
 * Their paths are the URLs, their keys come from what follows the scheme, and what their names end in does not matter. A line
 * that is no URL, or one with a user in it, is noted with its number, and counted in options->unread, as is a list that is written
 * anew while it is listed.
 *
 * Nothing is asked of a server before a sample is opened. Files are fetched as net/download.h does, with its errors, and `web_page`
 * for HTML. Servers whose addresses are not public are not asked unless options->remote says so: others write such lists.
 *
 * A URL is one file for good, unless options->remote has recheck_ms: then a listing asks the servers of files that were fetched, with
 * their ETag or Last-Modified, and one that has changed is another entry (source_keep_lists() says where that is remembered).
 * Captions and metadata: none.
 */
int source_urls_open(const char *path, const struct source_folder_options *options,
		     struct source **out, struct error *err);

/* -- bucket ------------------------------------------------------------------------------------ */

/*
 * The images in "s3://BUCKET/PREFIX" of any S3-compatible store, in an order that their keys decide: by bytes, but each behind what lies
 * beside it; as far as options->choice takes them. Paths are what follows the prefix, which is a folder. Region, endpoint and keys are those of the environment and of AWS's files (net/s3.h).
 * Files are fetched like those of URLs; an entry's inode says its ETag, so that one that has changed is another. Keys that are no
 * paths ("a//b") are noted. Errors of next are those of s3_list().
 *
 * Archives are like folders of their names, as in a folder. They are listed through ranged reads (remote_ranges.h), a member of a plain tar is read by one, and members of others
 * one after the other; an archive that is replaced meanwhile is listed again. One whose store knows no ranges is an entry that says so.
 *
 * Captions, metadata and masks lie beside images as in a folder. The list tells of them, and what it told is kept where source_keep_lists() says:
 * nothing is asked for that is not there. Who knows nothing of an image, as another node, asks the list for its name.
 */
int source_s3_open(const char *url, const struct source_folder_options *options,
		   struct source **out, struct error *err);

/* -- memory: for tests ------------------------------------------------------------------------- */

struct source_memory_file {
	const char *path;
	const void *data; /* NULL: listed, but `gone` when opened */
	size_t size;
	const char *caption; /* NULL: none */
};

/* The files, in any order, outlive the source. ERR_BUG: a path twice, or not inside. */
int source_memory_open(const struct source_memory_file *files, size_t n, struct source **out,
		       struct error *err);

#endif
