#include "net/s3_xml.h"

#include "base/checked.h"
#include "base/text.h"

#include <expat.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { DEPTH_MAX = 8 };

/* Namespaces are not looked at: servers differ in whether they name one. */
struct reader {
	XML_Parser parser;
	size_t depth;
	char names[DEPTH_MAX]
		  [32]; /* of the open elements; one that is longer is none that we know */
	struct buffer text;
	bool refused;
	/* An element ended: its text is r->text. */
	void (*on_value)(struct reader *r, const char *parent, const char *name);
};

static void refuse(struct reader *r)
{
	r->refused = true;
	XML_StopParser(r->parser, XML_FALSE);
}

static void XMLCALL on_start(void *arg, const XML_Char *name, const XML_Char **attributes)
{
	struct reader *r = arg;

	(void)attributes;
	buffer_reset(&r->text);
	if (r->depth == DEPTH_MAX) {
		refuse(r);
		return;
	}
	snprintf(r->names[r->depth++], sizeof(r->names[0]), "%s",
		 strlen(name) < sizeof(r->names[0]) ? name : "");
}

static void XMLCALL on_text(void *arg, const XML_Char *text, int n)
{
	struct reader *r = arg;

	if (r->text.size + (size_t)n > S3_XML_VALUE_MAX)
		refuse(r);
	else
		buffer_append(&r->text, text, (size_t)n);
}

static void XMLCALL on_end(void *arg, const XML_Char *name)
{
	struct reader *r = arg;

	(void)name;
	if (r->refused) /* expat ends an empty element nonetheless */
		return;
	r->depth--;
	r->on_value(r, r->depth > 0 ? r->names[r->depth - 1] : "", r->names[r->depth]);
	buffer_reset(&r->text);
}

static void XMLCALL on_doctype(void *arg, const XML_Char *name, const XML_Char *system,
			       const XML_Char *public, int internal)
{
	(void)name;
	(void)system;
	(void)public;
	(void)internal;
	refuse(arg);
}

static const char *text_of(const struct reader *r)
{
	return r->text.data ? (const char *)r->text.data : "";
}

/* True: a whole document. */
static bool read_document(struct reader *r, const void *xml, size_t size)
{
	bool whole;

	if (size == 0 || size > INT_MAX)
		return false;
	r->parser = XML_ParserCreate("UTF-8");
	if (!r->parser)
		memory_is_out();
	XML_SetUserData(r->parser, r);
	XML_SetElementHandler(r->parser, on_start, on_end);
	XML_SetCharacterDataHandler(r->parser, on_text);
	XML_SetStartDoctypeDeclHandler(r->parser, on_doctype);
	whole = XML_Parse(r->parser, xml, (int)size, 1) == XML_STATUS_OK && !r->refused;
	XML_ParserFree(r->parser);
	if (r->text.data) /* it may have been a secret */
		explicit_bzero(r->text.data, r->text.capacity);
	buffer_release(&r->text);
	return whole;
}

/* -- lists ------------------------------------------------------------------------------------------ */

struct page_reader {
	struct reader base;
	struct s3_page page;
	struct s3_item item; /* that is being read */
	bool known;	     /* the root is that of a list */
	bool encoded;	     /* its keys are */
	bool next_is_key;
};

static bool is(const char *a, const char *b)
{
	return strcmp(a, b) == 0;
}

static uint64_t number_of(struct reader *r)
{
	const char *text = text_of(r);
	uint64_t n = 0;

	for (; *text >= '0' && *text <= '9'; text++) {
		if (__builtin_mul_overflow(n, 10, &n) ||
		    __builtin_add_overflow(n, (uint64_t)(*text - '0'), &n))
			break;
	}
	if (*text != '\0' || r->text.size == 0)
		refuse(r);
	return n;
}

/* "2026-01-31T23:59:59.000Z" */
static int64_t time_of(const char *s)
{
	struct tm tm = {.tm_year = 0};

	if (sscanf(s, "%4d-%2d-%2dT%2d:%2d:%2d", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour,
		   &tm.tm_min, &tm.tm_sec) != 6)
		return 0;
	tm.tm_year -= 1900;
	tm.tm_mon -= 1;
	return (int64_t)timegm(&tm) * 1000;
}

static void replace(char **to, const char *text)
{
	free(*to);
	*to = xstrdup(text);
}

static bool is_item(const char *name)
{
	return is(name, "Contents") || is(name, "Part") || is(name, "Upload");
}

static void item_value(struct page_reader *p, const char *name)
{
	struct s3_item *item = &p->item;
	const char *text = text_of(&p->base);

	if (is(name, "Key"))
		replace(&item->key, text);
	else if (is(name, "UploadId"))
		replace(&item->upload_id, text);
	else if (is(name, "PartNumber"))
		item->number = number_of(&p->base);
	else if (is(name, "Size"))
		item->size = number_of(&p->base);
	else if (is(name, "ETag"))
		snprintf(item->etag, sizeof(item->etag), "%s", text);
	else if (is(name, "LastModified") || is(name, "Initiated"))
		item->modified_ms = time_of(text);
}

static void on_page_value(struct reader *r, const char *parent, const char *name)
{
	struct page_reader *p = (struct page_reader *)r;
	struct s3_page *page = &p->page;

	if (r->depth == 2 && is_item(parent)) {
		item_value(p, name);
	} else if (r->depth == 1 && is_item(name)) {
		ARRAY_GROW(page->items, page->n, page->capacity);
		page->items[page->n++] = p->item;
		p->item = (struct s3_item){.key = NULL};
	} else if (r->depth == 1 && is(name, "EncodingType")) {
		p->encoded = is(text_of(r), "url");
	} else if (r->depth == 1 && is(name, "IsTruncated")) {
		page->truncated = is(text_of(r), "true");
	} else if (r->depth == 1 &&
		   (is(name, "NextContinuationToken") || is(name, "NextPartNumberMarker") ||
		    is(name, "NextKeyMarker"))) {
		replace(&page->next, text_of(r));
		p->next_is_key = is(name, "NextKeyMarker");
	} else if (r->depth == 1 && is(name, "NextUploadIdMarker")) {
		replace(&page->next_upload, text_of(r));
	} else if (r->depth == 0) {
		p->known = is(name, "ListBucketResult") || is(name, "ListPartsResult") ||
			   is(name, "ListMultipartUploadsResult");
	}
}

static void item_release(struct s3_item *item)
{
	free(item->key);
	free(item->upload_id);
}

/* As in a query: a space may be a plus. What is no such text stays as it is. False: there is a NUL in it, *key is unchanged. */
static bool decode_key(char **key)
{
	cleanup_free char *spaced = xstrdup(*key);
	cleanup_buffer struct buffer bytes = BUFFER_INIT;

	for (char *plus = spaced; (plus = strchr(plus, '+'));)
		*plus = ' ';
	if (!percent_decode(&bytes, spaced))
		return true;
	if (bytes.size > 0 && memchr(bytes.data, '\0', bytes.size))
		return false;
	replace(key, bytes.size > 0 ? (const char *)bytes.data : "");
	return true;
}

static bool is_text(const char *key)
{
	return utf8_valid(key, strlen(key));
}

/* When all is read: the element that says so may stand behind them. */
static void decode_keys(struct page_reader *p)
{
	struct s3_page *page = &p->page;
	size_t n = 0;

	for (size_t i = 0; i < page->n; i++) {
		char **key = &page->items[i].key;

		if (*key && (!decode_key(key) || !is_text(*key)))
			item_release(&page->items[i]);
		else
			page->items[n++] = page->items[i];
	}
	page->n = n;
	if (p->next_is_key && page->next)
		decode_key(&page->next);
}

int s3_page_parse(const void *xml, size_t size, struct s3_page *out, struct error *err)
{
	struct page_reader p = {.base = {.on_value = on_page_value}};
	bool whole = read_document(&p.base, xml, size) && p.known;

	item_release(&p.item);
	if (!whole) {
		s3_page_release(&p.page);
		return error_data(err, "protocol", "the answer is no list as S3 writes it");
	}
	if (p.encoded)
		decode_keys(&p);
	*out = p.page;
	return 0;
}

void s3_page_release(struct s3_page *page)
{
	for (size_t i = 0; i < page->n; i++)
		item_release(&page->items[i]);
	free(page->items);
	free(page->next);
	free(page->next_upload);
	*page = (struct s3_page){.items = NULL};
}

/* -- single values ---------------------------------------------------------------------------------- */

struct fault_reader {
	struct reader base;
	struct s3_fault fault;
	bool known;
};

/* For people: what would move a cursor or is no text is left out. */
static void copy_clean(char *out, size_t size, const char *text)
{
	size_t n = 0, whole = strlen(text);

	for (size_t i = 0; i < whole;) {
		size_t length = utf8_sequence((const uint8_t *)text + i, whole - i);

		if (length == 0 || (length == 1 && (unsigned char)text[i] < ' ')) {
			i++;
			continue;
		}
		if (n + length >= size)
			break;
		memcpy(out + n, text + i, length);
		n += length;
		i += length;
	}
	out[n] = '\0';
}

static void on_fault_value(struct reader *r, const char *parent, const char *name)
{
	struct fault_reader *f = (struct fault_reader *)r;

	if (r->depth == 0)
		f->known = is(name, "Error") || is(name, "ErrorResponse");
	if (!is(parent, "Error"))
		return;
	if (is(name, "Code"))
		copy_clean(f->fault.code, sizeof(f->fault.code), text_of(r));
	else if (is(name, "Message"))
		copy_clean(f->fault.message, sizeof(f->fault.message), text_of(r));
	else if (is(name, "Region"))
		copy_clean(f->fault.region, sizeof(f->fault.region), text_of(r));
}

bool s3_fault_parse(const void *xml, size_t size, struct s3_fault *out)
{
	struct fault_reader f = {.base = {.on_value = on_fault_value}};

	if (!read_document(&f.base, xml, size) || !f.known)
		return false;
	*out = f.fault;
	return true;
}

struct value_reader {
	struct reader base;
	const char *name;
	char *out;
	size_t size;
	bool found;
};

static void on_single_value(struct reader *r, const char *parent, const char *name)
{
	struct value_reader *v = (struct value_reader *)r;

	(void)parent;
	if (v->found || !is(name, v->name) || r->text.size >= v->size)
		return;
	snprintf(v->out, v->size, "%s", text_of(r));
	v->found = true;
}

bool s3_value_parse(const void *xml, size_t size, const char *name, char *out, size_t out_size)
{
	struct value_reader v = {
	    .base = {.on_value = on_single_value}, .name = name, .out = out, .size = out_size};

	return read_document(&v.base, xml, size) && v.found;
}
