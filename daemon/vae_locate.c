/*
 * The cache's layout is huggingface_hub's: models--ORG--NAME/refs/main holds the hash of a commit, and
 * snapshots/HASH/ its files, as links to blobs. Only files that somebody asked for are there, so a repository may be
 * present without its VAE.
 */
#include "daemon/vae_locate.h"

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/files.h"
#include "base/text.h"

#include <string.h>
#include <strings.h>

enum { REF_LIMIT = 256 };

#define WEIGHTS "diffusion_pytorch_model.safetensors"

/* -- paths --------------------------------------------------------------------------------------- */

/* The last part of @path, without slashes at its end and without @ending. */
static char *last_part(const char *path, const char *ending)
{
	size_t end = strlen(path), start, n = strlen(ending);

	while (end > 1 && path[end - 1] == '/')
		end--;
	for (start = end; start > 0 && path[start - 1] != '/';)
		start--;
	if (end - start > n && strncasecmp(path + end - n, ending, n) == 0)
		end -= n;
	return xasprintf("%.*s", (int)(end - start), path + start);
}

/* Of a file that was not given a name of its own its folder's. */
static char *name_of_path(const char *path)
{
	cleanup_free char *real = realpath(path, NULL);
	char *name = last_part(real ? real : path, ".safetensors"), *slash;

	if (!real || strncmp(name, "diffusion_pytorch_model", 23) != 0)
		return name;
	free(name);
	slash = strrchr(real, '/');
	*slash = '\0';
	return last_part(real, "");
}

/* -- the cache ----------------------------------------------------------------------------------- */

static const char *environment(const char *name)
{
	const char *value = getenv(name);

	return value && *value ? value : NULL;
}

static char *cache_folder(void)
{
	const char *hub = environment("HF_HUB_CACHE"), *home = environment("HF_HOME");
	const char *cache = environment("XDG_CACHE_HOME"), *user = environment("HOME");

	if (hub)
		return xstrdup(hub);
	if (home)
		return xasprintf("%s/hub", home);
	if (cache)
		return xasprintf("%s/huggingface/hub", cache);
	return xasprintf("%s/.cache/huggingface/hub", user ? user : "");
}

/* The folder of the revision that main was at; NULL: the repository is not in the cache. */
static char *snapshot(const char *cache, const char *id)
{
	const char *slash = strchr(id, '/');
	cleanup_free char *repo =
	    xasprintf("%s/models--%.*s--%s", cache, (int)(slash - id), id, slash + 1);
	cleanup_free char *ref = xasprintf("%s/refs/main", repo);
	cleanup_buffer struct buffer text = BUFFER_INIT;
	struct error ignored = ERROR_INIT;
	size_t length;

	if (file_read_all(ref, REF_LIMIT, &text, &ignored) < 0)
		return NULL;
	length = strspn((const char *)text.data, "0123456789abcdef");
	if (length == 0)
		return NULL;
	return xasprintf("%s/snapshots/%.*s", repo, (int)length, (const char *)text.data);
}

/* A folder with the config and the weights of a VAE. */
static bool has_vae(const char *folder)
{
	static const char *const weights[] = {WEIGHTS, "diffusion_pytorch_model.fp16.safetensors"};
	cleanup_free char *config = xasprintf("%s/config.json", folder);

	for (size_t i = 0; i < ARRAY_SIZE(weights); i++) {
		cleanup_free char *path = xasprintf("%s/%s", folder, weights[i]);

		if (file_exists(config) && file_exists(path))
			return true;
	}
	return false;
}

/* The folder of the VAE of the repository @id; NULL: it is not in the cache. */
static char *find_cached(const char *cache, const char *id)
{
	cleanup_free char *root = snapshot(cache, id);
	char *below;

	if (!root)
		return NULL;
	below = xasprintf("%s/vae", root);
	if (has_vae(below))
		return below;
	free(below);
	return has_vae(root) ? TAKE(root) : NULL;
}

/* -- what to do where it is not there ------------------------------------------------------------ */

/* @folder: of the VAE in the repository; NULL: nothing is known of it, and it may be a pipeline or a lone VAE. */
static int not_cached(const char *vae, const char *cache, const char *id, const char *folder,
		      struct error *err)
{
	if (!folder)
		return error_set(err, ERR_CONFIG,
				 "vae %s: not in the Hugging Face cache %s; this downloads it: hf "
				 "download %s --include \"vae/*\" where it is a pipeline, hf "
				 "download %s config.json " WEIGHTS " where it is a VAE alone",
				 vae, cache, id, id);
	return error_set(err, ERR_CONFIG,
			 "vae %s: not in the Hugging Face cache %s; this downloads it: hf download "
			 "%s %sconfig.json %s" WEIGHTS,
			 vae, cache, id, folder, folder);
}

static int locate_preset(const struct vae_preset *preset, struct vae_place *out, struct error *err)
{
	cleanup_free char *cache = cache_folder();
	const struct vae_hub *first = NULL;

	for (size_t i = 0; i < n_vae_hubs; i++) {
		char *path;

		if (strcmp(vae_hubs[i].preset, preset->name) != 0)
			continue;
		if (!first)
			first = &vae_hubs[i];
		path = find_cached(cache, vae_hubs[i].id);
		if (path) {
			*out = (struct vae_place){path, xstrdup(preset->name), preset};
			return 0;
		}
	}
	if (!first)
		return error_set(err, ERR_CONFIG,
				 "vae %s: it is in no repository that is known: give its file, and "
				 "--model %s",
				 preset->name, preset->name);
	return not_cached(preset->name, cache, first->id, first->folder, err);
}

static int locate_hub(const char *id, struct vae_place *out, struct error *err)
{
	cleanup_free char *cache = cache_folder(), *path = find_cached(cache, id);
	const struct vae_hub *hub = vae_hub_find(id);

	if (!path)
		return not_cached(id, cache, id, hub ? hub->folder : NULL, err);
	*out = (struct vae_place){TAKE(path), last_part(id, ""),
				  hub ? vae_preset_find(hub->preset) : NULL};
	return 0;
}

int vae_locate(const char *vae, struct vae_place *out, struct error *err)
{
	const struct vae_preset *preset = vae_preset_find(vae);
	char quoted[TEXT_QUOTE_SIZE];

	if (file_exists(vae)) {
		*out = (struct vae_place){xstrdup(vae), name_of_path(vae), NULL};
		return 0;
	}
	if (preset)
		return locate_preset(preset, out, err);
	if (vae_hub_id_valid(vae))
		return locate_hub(vae, out, err);
	return error_set(err, ERR_CONFIG,
			 "vae %s: there is no such file or folder, and it is neither a model that "
			 "`latentctl model list` names nor a hub id (ORG/NAME)",
			 text_quote(vae, quoted));
}

void vae_place_release(struct vae_place *place)
{
	free(place->path);
	free(place->name);
	*place = (struct vae_place){NULL, NULL, NULL};
}
