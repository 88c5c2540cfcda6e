add_executable(image_run tools/image_run.c)
target_link_libraries(image_run PRIVATE latentd_image)

add_cmocka_test(NAME test_bucket SOURCES unit/test_bucket.c LIBS latentd_image)
add_cmocka_test(NAME test_bucket_rules SOURCES unit/test_bucket_rules.c LIBS latentd_image m)
add_cmocka_test(NAME test_bucket_properties SOURCES unit/test_bucket_properties.c
	LIBS latentd_image)
add_cmocka_test(NAME test_resample SOURCES unit/test_resample.c LIBS latentd_image)
add_cmocka_test(NAME test_resample_kohya SOURCES unit/test_resample_kohya.c LIBS latentd_image)
add_cmocka_test(NAME test_resample_isa SOURCES unit/test_resample_isa.c LIBS latentd_image m)
add_cmocka_test(NAME test_image_color SOURCES unit/test_image_color.c
	LIBS latentd_image PkgConfig::LCMS2)
add_cmocka_test(NAME test_image_errors SOURCES unit/test_image_errors.c LIBS latentd_image)
add_cmocka_test(NAME test_image_orientation SOURCES unit/test_image_orientation.c
	LIBS latentd_image)
add_cmocka_test(NAME test_png_encode SOURCES unit/test_png_encode.c LIBS latentd_image)
add_cmocka_test(NAME test_jpeg_encode SOURCES unit/test_jpeg_encode.c LIBS latentd_image)
add_cmocka_test(NAME test_render SOURCES unit/test_render.c LIBS latentd_image PkgConfig::JANSSON)
add_cmocka_test(NAME test_render_memory SOURCES unit/test_render_memory.c
	LIBS latentd_image z)
add_cmocka_test(NAME test_image_jpeg SOURCES unit/test_image_jpeg.c LIBS latentd_image)
add_cmocka_test(NAME test_image_golden SOURCES unit/test_image_golden.c
	LIBS latentd_image PkgConfig::JANSSON)

add_cmocka_test(NAME test_image_formats SOURCES unit/test_image_formats.c
	LIBS latentd_image PkgConfig::JANSSON PkgConfig::SECCOMP)
add_cmocka_test(NAME test_image_format_errors SOURCES unit/test_image_format_errors.c
	LIBS latentd_image z)

add_fuzz_target(NAME fuzz_image_header SOURCES fuzz/fuzz_image_header.c LIBS latentd_image)
add_fuzz_target(NAME fuzz_exif SOURCES fuzz/fuzz_exif.c LIBS latentd_image)

add_test(NAME image_run_names_what_is_wrong
	COMMAND image_run ${CMAKE_CURRENT_LIST_FILE} ${CMAKE_BINARY_DIR}/image_run.ppm)
set_tests_properties(image_run_names_what_is_wrong PROPERTIES
	PASS_REGULAR_EXPRESSION "image_run: .*not an image file .*\\[unsupported\\]")
