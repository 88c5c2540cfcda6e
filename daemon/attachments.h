/*
 * Arrays by key that join a dataset's samples as members KEY.NAME.npy.zst: text embeddings and whatever else belongs to an image.
 *
 *	attachments_open("clip", "te.safetensors", &a, err)    tensors by key; or a folder of KEY.npy
 *	attachments_keys(a)                                    a set
 *	attachments_put(a, key, &record, err)                  1: the record is another one now
 *	attachments_close(a)
 */
#ifndef LATENTD_DAEMON_ATTACHMENTS_H
#define LATENTD_DAEMON_ATTACHMENTS_H

#include "storage/record.h"

#include <stdbool.h>

struct json_t;
struct attachments;

/* Of a member: with the longest key its name fits a tar. */
#define ATTACHMENT_NAME_MAX 11
#define ATTACHMENT_CHANGED  1

/* Lower-case letters, digits, '_' and '-', and no member of latentd's own, nor a column of mds. */
bool attachment_name_valid(const char *name);

/*
 * ERR_DATA: a safetensors file that is damaged; ERR_CONFIG: tensors of other types than float32, float16 and bfloat16 (which
 * numpy does not have: it becomes float32), or no arrays.
 */
int attachments_open(const char *name, const char *path, struct attachments **out,
		     struct error *err);
/* NULL is fine. */
void attachments_close(struct attachments *a);
/* An object that has the keys, or paths without extension: foreign_keys_leave() makes keys of a dataset of them. */
struct json_t *attachments_keys(struct attachments *a);
bool attachments_have(const struct attachments *a, const char *key);
/*
 * Gives @record, of any variant, the array of its image's @key, compressed as its latent is, in the place of an earlier one of that name.
 * ATTACHMENT_CHANGED, or 0 where it has exactly that already. ERR_CONFIG: the array cannot be read, or the record is full.
 */
int attachments_put(struct attachments *a, const char *key, struct record *record,
		    struct error *err);

#endif
