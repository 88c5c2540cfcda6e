/*
 * Where several have the same numbers and nothing tells them apart, the first one counts. Playground's checkpoints also
 * have SDXL's probe, so it stands before.
 */
#include "config/vae_presets.h"

#include "base/checked.h"

#include <string.h>

static const double playground_mean[] = {-1.6574, 1.886, -1.383, 2.5155};
static const double playground_std[] = {8.4927, 5.9022, 6.5498, 5.2299};

/* The encoder of Stable Diffusion, and what became of its latents since. */
#define SD(factor)                                                                                 \
	.latent_channels = 4, .quant_conv = true, .scaling_factor = (factor), .multiple = 8,       \
	.least_psnr = 14
#define SD3                                                                                        \
	.latent_channels = 16, .scaling_factor = 1.5305, .has_shift_factor = true,                 \
	.shift_factor = 0.0609, .least_psnr = 18
#define FLUX1                                                                                      \
	.latent_channels = 16, .scaling_factor = 0.3611, .has_shift_factor = true,                 \
	.shift_factor = 0.1159, .multiple = 16, .resolution = 1024, .least_psnr = 18

/* An AutoencoderTiny, trained on what the diffusion model of another VAE takes. */
#define TINY(channels, least)                                                                      \
	.network = VAE_NETWORK_TINY, .latent_channels = (channels), .scaling_factor = 1,           \
	.least_psnr = (least)

const struct vae_preset vae_presets[] = {
    {"sd15", "Stable Diffusion 1.x", SD(0.18215), .resolution = 512, .fits_float16 = true,
     .probe = "cond_stage_model.transformer.text_model.embeddings.position_embedding.weight"},
    {"sd21", "Stable Diffusion 2.x", SD(0.18215), .resolution = 768, .fits_float16 = true,
     .probe = "cond_stage_model.model.transformer.resblocks.0.attn.in_proj_bias"},
    {"pixart-alpha", "PixArt-alpha", SD(0.18215), .resolution = 512, .fits_float16 = true},
    {"playground25", "Playground v2.5", SD(0.5), .mean = playground_mean, .std = playground_std,
     .resolution = 1024, .probe = "edm_mean"},
    {"sdxl", "Stable Diffusion XL", SD(0.13025), .resolution = 1024,
     .probe = "conditioner.embedders.1.model.transformer.resblocks.0.attn.in_proj_bias"},
    {"sdxl-fp16-fix", "SDXL, retrained for float16", SD(0.13025), .resolution = 1024, .tile = 512,
     .fits_float16 = true},
    {"kolors", "Kolors", SD(0.13025), .resolution = 1024},
    {"pixart-sigma", "PixArt-Sigma", SD(0.13025), .resolution = 1024},
    {"hunyuan-dit", "HunyuanDiT", SD(0.13025), .resolution = 1024},
    {"auraflow", "AuraFlow", SD(0.13025), .resolution = 1024},
    {"lumina-next", "Lumina-Next", SD(0.13025), .resolution = 1024},
    {"omnigen", "OmniGen 1", SD(0.13025), .resolution = 1024},
    {"sd3", "Stable Diffusion 3 and 3.5", SD3, .multiple = 8, .resolution = 1024,
     .probe = "model.diffusion_model.joint_blocks.0.context_block.adaLN_modulation.1.bias"},
    {"flux1", "FLUX.1", FLUX1,
     .probe = "model.diffusion_model.double_blocks.0.img_attn.norm.key_norm.scale"},
    {"chroma", "Chroma", FLUX1},
    {"hidream", "HiDream-I1", FLUX1},
    {"lumina2", "Lumina-Image 2", FLUX1},
    {"z-image", "Z-Image", FLUX1},
    {"ovis-image", "Ovis-Image", FLUX1},
    {"flux2", "FLUX.2, ERNIE-Image, Ideogram 4", .latent_channels = 32, .quant_conv = true,
     .batch_norm = true, .scaling_factor = 1, .multiple = 16, .resolution = 1024, .least_psnr = 18},
    {"cogview4", "CogView4", VAE_NETWORK_COGVIEW4, .latent_channels = 16, .scaling_factor = 1,
     .has_shift_factor = true, .multiple = 16, .resolution = 1024, .least_psnr = 18},
    {"taesd", "TAESD, tiny, of SD 1.x and 2.x", TINY(4, 12), .multiple = 8, .resolution = 512},
    {"taesdxl", "TAESDXL, tiny, of SDXL", TINY(4, 12), .multiple = 8, .resolution = 1024},
    {"taesd3", "TAESD3, tiny, of SD3", TINY(16, 15), .multiple = 8, .resolution = 1024},
    {"taef1", "TAEF1, tiny, of FLUX.1", TINY(16, 15), .multiple = 16, .resolution = 1024},
    {"taef2", "TAEF2, tiny, of FLUX.2", TINY(32, 15), .multiple = 16, .resolution = 1024},
    {"taesana", "TAESANA, tiny, of Sana", .network = VAE_NETWORK_TINY_32, .latent_channels = 32,
     .scaling_factor = 1, .multiple = 32, .resolution = 1024, .least_psnr = 12},
};

const size_t n_vae_presets = ARRAY_SIZE(vae_presets);

/* Of several for one preset the first one is the one to download. */
const struct vae_hub vae_hubs[] = {
    {"stabilityai/sd-vae-ft-mse", "", "sd15"},
    {"stabilityai/sd-vae-ft-ema", "", "sd15"},
    {"stable-diffusion-v1-5/stable-diffusion-v1-5", "vae/", "sd15"},
    {"runwayml/stable-diffusion-v1-5", "vae/", "sd15"},
    {"CompVis/stable-diffusion-v1-4", "vae/", "sd15"},
    {"stabilityai/stable-diffusion-2-1", "vae/", "sd21"},
    {"stabilityai/stable-diffusion-2", "vae/", "sd21"},
    {"PixArt-alpha/PixArt-XL-2-512x512", "vae/", "pixart-alpha"},
    {"stabilityai/sdxl-vae", "", "sdxl"},
    {"stabilityai/stable-diffusion-xl-base-1.0", "vae/", "sdxl"},
    {"madebyollin/sdxl-vae-fp16-fix", "", "sdxl-fp16-fix"},
    {"Kwai-Kolors/Kolors-diffusers", "vae/", "kolors"},
    {"PixArt-alpha/PixArt-Sigma-XL-2-1024-MS", "vae/", "pixart-sigma"},
    {"Tencent-Hunyuan/HunyuanDiT-v1.2-Diffusers", "vae/", "hunyuan-dit"},
    {"Tencent-Hunyuan/HunyuanDiT-v1.1-Diffusers", "vae/", "hunyuan-dit"},
    {"Tencent-Hunyuan/HunyuanDiT-Diffusers", "vae/", "hunyuan-dit"},
    {"fal/AuraFlow", "vae/", "auraflow"},
    {"fal/AuraFlow-v0.2", "vae/", "auraflow"},
    {"fal/AuraFlow-v0.3", "vae/", "auraflow"},
    {"Alpha-VLLM/Lumina-Next-SFT-diffusers", "vae/", "lumina-next"},
    {"Shitao/OmniGen-v1-diffusers", "vae/", "omnigen"},
    {"playgroundai/playground-v2.5-1024px-aesthetic", "vae/", "playground25"},
    {"stabilityai/stable-diffusion-3-medium-diffusers", "vae/", "sd3"},
    {"stabilityai/stable-diffusion-3.5-medium", "vae/", "sd3"},
    {"stabilityai/stable-diffusion-3.5-large", "vae/", "sd3"},
    {"stabilityai/stable-diffusion-3.5-large-turbo", "vae/", "sd3"},
    {"black-forest-labs/FLUX.1-dev", "vae/", "flux1"},
    {"black-forest-labs/FLUX.1-schnell", "vae/", "flux1"},
    {"black-forest-labs/FLUX.1-Kontext-dev", "vae/", "flux1"},
    {"black-forest-labs/FLUX.1-Krea-dev", "vae/", "flux1"},
    {"black-forest-labs/FLUX.1-Fill-dev", "vae/", "flux1"},
    {"black-forest-labs/FLUX.1-Depth-dev", "vae/", "flux1"},
    {"black-forest-labs/FLUX.1-Canny-dev", "vae/", "flux1"},
    {"lodestones/Chroma1-HD", "vae/", "chroma"},
    {"lodestones/Chroma1-Base", "vae/", "chroma"},
    {"HiDream-ai/HiDream-I1-Full", "vae/", "hidream"},
    {"HiDream-ai/HiDream-I1-Dev", "vae/", "hidream"},
    {"HiDream-ai/HiDream-I1-Fast", "vae/", "hidream"},
    {"Alpha-VLLM/Lumina-Image-2.0", "vae/", "lumina2"},
    {"Tongyi-MAI/Z-Image-Turbo", "vae/", "z-image"},
    {"AIDC-AI/Ovis-Image-7B", "vae/", "ovis-image"},
    {"black-forest-labs/FLUX.2-dev", "vae/", "flux2"},
    {"black-forest-labs/FLUX.2-klein-4B", "vae/", "flux2"},
    {"black-forest-labs/FLUX.2-klein-9B", "vae/", "flux2"},
    {"black-forest-labs/FLUX.2-klein-base-4B", "vae/", "flux2"},
    {"black-forest-labs/FLUX.2-klein-base-9B", "vae/", "flux2"},
    {"baidu/ERNIE-Image", "vae/", "flux2"},
    {"baidu/ERNIE-Image-Turbo", "vae/", "flux2"},
    {"zai-org/CogView4-6B", "vae/", "cogview4"},
    {"THUDM/CogView4-6B", "vae/", "cogview4"},
    {"madebyollin/taesd", "", "taesd"},
    {"madebyollin/taesdxl", "", "taesdxl"},
    {"madebyollin/taesd3", "", "taesd3"},
    {"madebyollin/taef1", "", "taef1"},
};

const size_t n_vae_hubs = ARRAY_SIZE(vae_hubs);

const struct vae_preset *vae_preset_find(const char *name)
{
	for (size_t i = 0; i < n_vae_presets; i++) {
		if (strcmp(vae_presets[i].name, name) == 0)
			return &vae_presets[i];
	}
	for (size_t i = 0; i < n_vae_hubs; i++) {
		const struct vae_hub *hub = &vae_hubs[i];

		if (!*hub->folder && strcmp(strchr(hub->id, '/') + 1, name) == 0)
			return vae_preset_find(hub->preset);
	}
	return NULL;
}

bool vae_name_same(const char *a, const char *b)
{
	const struct vae_preset *preset = vae_preset_find(a);

	return preset ? preset == vae_preset_find(b) : strcmp(a, b) == 0;
}

const struct vae_hub *vae_hub_find(const char *id)
{
	for (size_t i = 0; i < n_vae_hubs; i++) {
		if (strcmp(vae_hubs[i].id, id) == 0)
			return &vae_hubs[i];
	}
	return NULL;
}

/* Letters, digits, '-', '_' and '.'; not beginning with a dot, which a path does. */
static size_t hub_word(const char *text)
{
	return *text == '.' ? 0
			    : strspn(text, "abcdefghijklmnopqrstuvwxyz"
					   "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.");
}

bool vae_hub_id_valid(const char *text)
{
	size_t org = hub_word(text), name;

	if (org == 0 || text[org] != '/')
		return false;
	name = hub_word(text + org + 1);
	/* the hub's own limit; "--" separates the parts of a folder's name in its cache */
	return name > 0 && text[org + 1 + name] == '\0' && org + 1 + name <= 96 &&
	       !strstr(text, "--");
}
