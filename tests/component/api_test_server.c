/*
 * api_test_server DIR [OUT [ENDPOINTS]]: serves the API at DIR/api.sock with no daemon behind it, for tests of what speaks to it. Each
 * request that comes is printed on a line of its own, and counts 3; one with the reason refuse, busy, broken or nobody
 * is answered so. With OUT the dataset photos lies there, with ENDPOINTS its encoder is that many, of which the last two do not work.
 * Ends when its standard input does.
 */
#include "tests/component/api_rig.h"

#include "base/checked.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void add_endpoints(struct service_encoder *e, size_t n)
{
	e->n_endpoints = n;
	e->endpoints = xcalloc(n, sizeof(*e->endpoints));
	for (size_t i = 0; i < n; i++)
		e->endpoints[i] = (struct service_endpoint){
		    .url = xasprintf("https://gpu%zu.example/vae", i + 1),
		    .model = xstrdup("sd-vae-ft-mse"),
		    .state = i + 2 < n	 ? "ok"
			     : i + 1 < n ? "backing off"
					 : "failing",
		    .why = i + 1 == n ? xstrdup("connect: Connection refused") : NULL,
		    .wait_ms = i + 2 < n ? 0 : 12000,
		    .in_flight = 4,
		    .limit = 8,
		    .latency_ms = 312,
		    .busy = 0.5,
		    .images_per_second = 1.5,
		    .requests = 1000,
		    .failures = i + 2 < n ? 0 : 7,
		    .images = 1000};
}

int main(int argc, char **argv)
{
	struct service_status *status;
	struct api_rig rig;
	char byte;

	if (argc < 2 || argc > 4)
		return 2;
	api_rig_open(&rig, argv[1]);
	rig.print = true;
	rig.reply = (struct service_reply){.count = 3, .message = "as the rig says"};
	status = api_rig_status(&rig);
	if (argc >= 3) {
		free(status->datasets[0].output);
		status->datasets[0].output = xasprintf("%s/photos", argv[2]);
	}
	if (argc == 4)
		add_endpoints(&status->encoders[0], strtoul(argv[3], NULL, 10));
	status_board_publish(rig.board, status);
	api_rig_serve(&rig);
	puts("ready");
	fflush(stdout);
	while (read(STDIN_FILENO, &byte, 1) > 0)
		continue;
	api_rig_close(&rig);
	return 0;
}
