add_test(NAME check_layers COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/check_layers.sh ${CMAKE_SOURCE_DIR})
add_test(NAME check_layers_selftest COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/check_layers_selftest.sh)
add_test(NAME check_unit COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/check_unit.sh ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR})
set_tests_properties(check_unit PROPERTIES SKIP_RETURN_CODE 77)
