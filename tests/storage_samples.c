#include "tests/storage_samples.h"

#include "tests/testing.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>

static void add(struct record *r, const char *suffix, const void *data, size_t size)
{
	struct error err = ERROR_INIT;

	assert_ok(record_add(r, suffix, data, size, &err), &err);
}

static void number(struct record *r, size_t index)
{
	r->dataset = 7;
	r->job = -2;
	r->fence = ((uint64_t)1 << 40) + 3;
	r->rank = 0xfedcba9876543210u - index;
}

void sample_golden(size_t index, struct record *out)
{
	static const char *const keys[GOLDEN_RECORDS] = {
	    "plain", "folder/ключ-日本",
	    "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk"
	    "k"};
	struct error err = ERROR_INIT;
	uint8_t bytes[1024];

	assert_ok(record_init(out, keys[index], "512x512", &err), &err);
	number(out, index);
	if (index == 0) {
		for (size_t i = 0; i < sizeof(bytes); i++)
			bytes[i] = (uint8_t)i;
		add(out, "json", "{\"v\":1}", 7);
		add(out, "latent.npy.zst", bytes, sizeof(bytes));
		add(out, "txt", "a caption\n", 10);
	} else if (index == 1) {
		add(out, "json", "{}", 2);
		add(out, "txt", "", 0);
	} else {
		memset(bytes, 'z', 513);
		add(out, "latent.npy.zst", bytes, 513);
	}
}

void sample_small(size_t index, struct record *out)
{
	struct error err = ERROR_INIT;
	char text[64];
	uint8_t bytes[300];

	snprintf(text, sizeof(text), "sample-%05zu", index);
	assert_ok(record_init(out, text, "512x512", &err), &err);
	number(out, index);
	out->job = (int64_t)index;
	snprintf(text, sizeof(text), "{\"index\":%zu}", index);
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 7 + index * 13);
	add(out, "json", text, strlen(text));
	add(out, "latent.npy", bytes, sizeof(bytes) - index % 50);
}

bool sample_equal(const struct record *a, const struct record *b, bool numbers)
{
	if (strcmp(a->key, b->key) != 0 || a->n_members != b->n_members)
		return false;
	if (numbers && (strcmp(a->group, b->group) != 0 || a->rank != b->rank ||
			a->dataset != b->dataset || a->job != b->job || a->fence != b->fence))
		return false;
	for (size_t i = 0; i < a->n_members; i++) {
		const struct record_member *x = &a->members[i], *y = &b->members[i];

		if (strcmp(x->suffix, y->suffix) != 0 || x->data.size != y->data.size ||
		    (x->data.size > 0 && memcmp(x->data.data, y->data.data, x->data.size) != 0) ||
		    !hash128_equal(&x->hash, &y->hash))
			return false;
	}
	return true;
}

size_t sample_count_files(const char *dir)
{
	struct dirent *entry;
	size_t n = 0;
	DIR *d = opendir(dir);

	if (!d)
		return 0;
	while ((entry = readdir(d)))
		n += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
	closedir(d);
	return n;
}
