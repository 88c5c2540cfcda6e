add_cmocka_test(NAME test_sample_key SOURCES unit/test_sample_key.c LIBS latentd_source)
add_cmocka_test(NAME test_source_folder SOURCES unit/test_source_folder.c LIBS latentd_source)
add_cmocka_test(NAME test_source_contract SOURCES contract/test_source_contract.c
	LIBS latentd_source)
add_cmocka_test(NAME test_watch SOURCES unit/test_watch.c LIBS latentd_source LABELS tsan)
target_link_options(test_watch PRIVATE -Wl,--wrap=inotify_add_watch -Wl,--wrap=fstatfs)
# Archives that tests make.
add_library(archive_samples STATIC archive_samples.c)
target_link_libraries(archive_samples PUBLIC latentd_base PRIVATE PkgConfig::ARCHIVE)
add_executable(make_archive tools/make_archive.c)
target_link_libraries(make_archive PRIVATE archive_samples)
add_cmocka_test(NAME test_unpack SOURCES unit/test_unpack.c LIBS latentd_unpack archive_samples)
target_link_libraries(test_source_contract PRIVATE latentd_unpack archive_samples)
add_fuzz_target(NAME fuzz_archive SOURCES fuzz/fuzz_archive.c LIBS latentd_unpack)
