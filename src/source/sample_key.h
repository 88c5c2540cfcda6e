/*
 * The key of a sample: its path without the extension, cleaned so that every reader of every shard
 * format takes it as it is. At most 80 bytes, valid UTF-8, no dots, no white space or control
 * characters, none of "\*?<>|:% and no part that begins with "__".
 *
 * The rule, for other implementations (contrib/, a merge of many machines):
 *	1. the extension is cut: what follows the last dot of the base name, with the dot; a dot
 *	   that begins the base name begins no extension
 *	2. each byte that is not UTF-8, control character, white space (Unicode's White_Space),
 *	   dot or character of the list above becomes one '_'
 *	3. empty parts (a//b, a leading or trailing '/') are left out; nothing left at all gives "_"
 *	4. a part that begins with "__" begins with "_-" instead
 *	5. if 2 to 4 changed something, the result has more than 80 bytes or ends as variants do (-f; -c and up to
 *	   3 digits; -r and up to 5): at most 71 bytes of it, cut between characters, then "-xxxxxxxx", the first 8
 *	   hex digits of XXH3-64 (seed 0) of the path without extension as it was before 2
 *
 * A variant's key is that of its image and its tail, "-f" for the mirrored one, so no image has it. Where both have more
 * than 80 bytes, so much of the image's key as leaves room for another tail of that key is followed by this and then by its
 * own.
 */
#ifndef LATENTD_SOURCE_SAMPLE_KEY_H
#define LATENTD_SOURCE_SAMPLE_KEY_H

#define SAMPLE_KEY_SIZE 81

/* The key that belongs to @path, the same on every machine and in every scan. */
void sample_key(const char *path, char out[SAMPLE_KEY_SIZE]);
/*
 * The key to use when another path already has sample_key(@path) (a.jpg and a.png): always with a
 * tail, made from @distinction (e.g. the whole path with extension and the source's name).
 */
void sample_key_distinct(const char *path, const char *distinction, char out[SAMPLE_KEY_SIZE]);

/* The key of a variant with @tail ("-f") of the image with that key. */
void sample_key_variant(const char *image, const char *tail, char out[SAMPLE_KEY_SIZE]);

#endif
