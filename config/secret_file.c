#include "config/secret_file.h"

#include "config/settings.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int secret_file_check(const char *setting, const char *path, struct error *err)
{
	struct stat st;

	if (strncmp(path, SETTING_CREDENTIAL, strlen(SETTING_CREDENTIAL)) == 0)
		return error_set(
		    err, ERR_CONFIG,
		    "%s: %s: no credentials were handed over: systemd does that where the "
		    "unit has LoadCredential=",
		    setting, path);
	if (stat(path, &st) < 0 || access(path, R_OK) < 0)
		return error_set(err, ERR_CONFIG, "%s: %s: %s", setting, path, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return error_set(err, ERR_CONFIG, "%s: %s is no file", setting, path);
	if (st.st_mode & S_IROTH)
		return error_set(err, ERR_CONFIG,
				 "%s: everybody on this machine can read %s: expected chmod 600",
				 setting, path);
	return 0;
}
