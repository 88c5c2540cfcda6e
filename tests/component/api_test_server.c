/*
 * api_test_server DIR [OUT]: serves the API at DIR/api.sock with no daemon behind it, for tests of what speaks to it. Each
 * request that comes is printed on a line of its own, and counts 3; one with the reason refuse, busy, broken or nobody
 * is answered so. With OUT the dataset photos lies there. Ends when its standard input does.
 */
#include "tests/component/api_rig.h"

#include "base/checked.h"

#include <stdio.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct service_status *status;
	struct api_rig rig;
	char byte;

	if (argc < 2 || argc > 3)
		return 2;
	api_rig_open(&rig, argv[1]);
	rig.print = true;
	rig.reply = (struct service_reply){.count = 3, .message = "as the rig says"};
	status = api_rig_status(&rig);
	if (argc == 3) {
		free(status->datasets[0].output);
		status->datasets[0].output = xasprintf("%s/photos", argv[2]);
	}
	status_board_publish(rig.board, status);
	api_rig_serve(&rig);
	puts("ready");
	fflush(stdout);
	while (read(STDIN_FILENO, &byte, 1) > 0)
		continue;
	api_rig_close(&rig);
	return 0;
}
