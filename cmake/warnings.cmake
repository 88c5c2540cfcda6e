# The warnings of git's config.mak.dev and c-stdaux, plus conversions: sizes are size_t here.
add_compile_options(
	-Wall -Wextra -Wshadow -Wundef -Wformat=2 -Wwrite-strings -Wpointer-arith
	-Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition -Wvla -Wdate-time
	-Wimplicit-fallthrough -Wconversion -Wno-sign-conversion -fno-common)
if(LATENTD_WERROR)
	add_compile_options(-Werror)
endif()
