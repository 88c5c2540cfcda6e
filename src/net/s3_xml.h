/*
 * The XML that S3 answers with. Documents of others are refused: a DTD (and with it every entity), nesting deeper than eight,
 * values longer than 16 KiB.
 *
 *	cleanup_s3_page struct s3_page page = {0};
 *	s3_page_parse(body, size, &page, err)                a page of a list
 *	s3_fault_parse(body, size, &fault)                   <Error>, which may come with status 200 too
 *	s3_value_parse(body, size, "UploadId", id, sizeof(id))
 */
#ifndef LATENTD_NET_S3_XML_H
#define LATENTD_NET_S3_XML_H

#include "base/cleanup.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define S3_ETAG_SIZE	 96
#define S3_XML_VALUE_MAX (16 << 10)

/*
 * Of an object, or of a part by its number, or of an upload that was begun. Keys are UTF-8, with control characters where the list has
 * them encoded, as "encoding-type=url" asks for: XML has none. What decodes to a NUL, or to no UTF-8, is no key of S3 and left out.
 */
struct s3_item {
	char *key;	 /* of a part NULL */
	char *upload_id; /* of an upload alone */
	uint64_t number; /* of a part alone */
	uint64_t size;
	int64_t modified_ms;	 /* wall; 0: it does not say */
	char etag[S3_ETAG_SIZE]; /* as the server wrote it, with its quotes */
};

struct s3_page {
	struct s3_item *items;
	size_t n, capacity;
	bool truncated;
	char *next,
	    *next_upload; /* the token, marker or part that the next page follows; NULL: none */
};

/* Objects (ListObjectsV2), parts (ListParts) or uploads (ListMultipartUploads). ERR_DATA `protocol`. */
int s3_page_parse(const void *xml, size_t size, struct s3_page *out, struct error *err);
void s3_page_release(struct s3_page *page);

struct s3_fault {
	char code[64];	   /* "NoSuchKey" */
	char message[256]; /* valid UTF-8 without control bytes */
	char region[64];   /* "" unless it says which the bucket is in */
};

/* False: the document is no <Error>, and no <ErrorResponse> with one in it, as STS has it. */
bool s3_fault_parse(const void *xml, size_t size, struct s3_fault *out);
/* The text of the first element @name, wherever it stands. False: there is none, or it does not fit. */
bool s3_value_parse(const void *xml, size_t size, const char *name, char *out, size_t out_size);

#define cleanup_s3_page cleanup_with(s3_page_release)

#endif
