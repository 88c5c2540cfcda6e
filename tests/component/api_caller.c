#include "tests/component/api_caller.h"

#include "base/checked.h"
#include "tests/testing.h"

#include <string.h>

int api_caller_setup(void **state)
{
	struct api_caller *f = xcalloc(1, sizeof(*f));
	struct http_client_options options = {.timeout_ms = 20000};
	struct error err = ERROR_INIT;

	f->dir = testing_tempdir();
	api_rig_open(&f->rig, f->dir);
	status_board_publish(f->rig.board, api_rig_status(&f->rig));
	api_rig_serve(&f->rig);
	options.unix_socket = f->rig.socket;
	assert_ok(http_client_open(&options, &f->client, &err), &err);
	*state = f;
	return 0;
}

int api_caller_teardown(void **state)
{
	struct api_caller *f = *state;

	http_client_close(f->client);
	api_rig_close(&f->rig);
	testing_tempdir_remove(f->dir);
	free(f);
	return 0;
}

json_t *api_ask(struct api_caller *f, const char *method, const char *path, const char *body,
		long status)
{
	cleanup_free char *url = xasprintf("http://latentd%s", path);
	cleanup_http_response struct http_response response = HTTP_RESPONSE_INIT;
	struct http_request request = {.method = method,
				       .url = url,
				       .body = body,
				       .body_size = body ? strlen(body) : 0,
				       .content_type = "application/json"};
	struct error err = ERROR_INIT;
	json_t *root;

	assert_ok(http_client_request(f->client, &request, &response, &err), &err);
	if (response.status != status)
		fail_msg("%s %s: %ld instead of %ld: %s", method, path, response.status, status,
			 (const char *)response.body.data);
	root = json_loadb((const char *)response.body.data, response.body.size, 0, NULL);
	assert_non_null(root);
	return root;
}

json_t *api_get(struct api_caller *f, const char *path, long status)
{
	return api_ask(f, "GET", path, NULL, status);
}

void api_post(struct api_caller *f, const char *path, const char *body, long status)
{
	json_decref(api_ask(f, "POST", path, body, status));
}

const char *api_text_of(json_t *root, const char *a, const char *b)
{
	json_t *value = json_object_get(root, a);

	return json_string_value(b ? json_object_get(value, b) : value);
}
