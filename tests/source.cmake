add_cmocka_test(NAME test_sample_key SOURCES unit/test_sample_key.c LIBS latentd_source)
add_cmocka_test(NAME test_source_folder SOURCES unit/test_source_folder.c LIBS latentd_source)
add_cmocka_test(NAME test_source_contract SOURCES contract/test_source_contract.c
	LIBS latentd_source)
add_cmocka_test(NAME test_watch SOURCES unit/test_watch.c LIBS latentd_source LABELS tsan)
target_link_options(test_watch PRIVATE -Wl,--wrap=inotify_add_watch -Wl,--wrap=fstatfs)
