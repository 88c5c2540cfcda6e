#include "daemon/api_web.h"

#include "base/checked.h"

#include <string.h>

/* Made of daemon/dashboard/ by CMake. */
extern const unsigned char dashboard_html[], dashboard_css[], dashboard_js[], dashboard_charts_js[],
    dashboard_encoders_js[];
extern const size_t dashboard_html_size, dashboard_css_size, dashboard_js_size,
    dashboard_charts_js_size, dashboard_encoders_js_size;

bool api_web_file(const char *uri, struct http_answer *answer)
{
	const struct {
		const char *uri, *type;
		const unsigned char *data;
		size_t size;
	} files[] = {
	    {"/", "text/html; charset=utf-8", dashboard_html, dashboard_html_size},
	    {"/dashboard.css", "text/css; charset=utf-8", dashboard_css, dashboard_css_size},
	    {"/dashboard.js", "text/javascript; charset=utf-8", dashboard_js, dashboard_js_size},
	    {"/dashboard_charts.js", "text/javascript; charset=utf-8", dashboard_charts_js,
	     dashboard_charts_js_size},
	    {"/dashboard_encoders.js", "text/javascript; charset=utf-8", dashboard_encoders_js,
	     dashboard_encoders_js_size}};

	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		if (strcmp(uri, files[i].uri) != 0)
			continue;
		answer->status = 200;
		answer->type = files[i].type;
		buffer_append(&answer->body, files[i].data, files[i].size);
		http_answer_header(answer, "Content-Security-Policy",
				   "default-src 'none'; script-src 'self'; style-src 'self'; "
				   "connect-src 'self'; img-src 'self' data:; base-uri 'none'; "
				   "form-action 'none'; frame-ancestors 'none'");
		http_answer_header(answer, "X-Content-Type-Options", "nosniff");
		http_answer_header(answer, "Referrer-Policy", "no-referrer");
		return true;
	}
	return false;
}
