/*
 * A client of api_rig.h's server over its socket, for tests that ask and look at what is answered and what was asked.
 */
#ifndef LATENTD_TESTS_API_CALLER_H
#define LATENTD_TESTS_API_CALLER_H

#include "tests/component/api_rig.h"

#include "net/http_client.h"

#include <jansson.h>

struct api_caller {
	char *dir;
	struct api_rig rig;
	struct http_client *client;
};

int api_caller_setup(void **state);
int api_caller_teardown(void **state);

/* The answer's body, which is always JSON; it must have this status. @body: NULL for none. */
json_t *api_ask(struct api_caller *f, const char *method, const char *path, const char *body,
		long status);
json_t *api_get(struct api_caller *f, const char *path, long status);
void api_post(struct api_caller *f, const char *path, const char *body, long status);
/* The text at a.b, or at a where @b is NULL; NULL: there is none. */
const char *api_text_of(json_t *root, const char *a, const char *b);

#define api_test(name) cmocka_unit_test_setup_teardown(name, api_caller_setup, api_caller_teardown)

#endif
