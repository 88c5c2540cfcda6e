/*
 * The key of a sample: its path without the extension, cleaned so that every reader of every shard
 * format takes it as it is. At most 80 bytes, valid UTF-8, no dots, no white space or control bytes, none
 * of "\*?<>|:% and no part that begins with "__". Where cleaning or length changed something, a tail "-xxxxxxxx"
 * (first 8 hex digits of XXH3-64 of the path without extension) keeps keys apart.
 */
#ifndef LATENTD_SOURCE_SAMPLE_KEY_H
#define LATENTD_SOURCE_SAMPLE_KEY_H

#define SAMPLE_KEY_SIZE 81

/* The key that belongs to @path, the same on every machine and in every scan. */
void sample_key(const char *path, char out[SAMPLE_KEY_SIZE]);
/* The key to use when another path already has sample_key(@path) (a.jpg and a.png): always with a tail,
 * made from @distinction (e.g. the whole path with extension and the source's name). */
void sample_key_distinct(const char *path, const char *distinction, char out[SAMPLE_KEY_SIZE]);

#endif
