# Files that are built into a program: embed_files(OUT_SOURCES FILE...) writes for DIR/a.css a source with a_css and
# a_css_size, and appends it to the list. Made anew when a file changes.
function(embed_files out)
	foreach(file IN LISTS ARGN)
		get_filename_component(path ${file} ABSOLUTE)
		get_filename_component(name ${file} NAME)
		string(MAKE_C_IDENTIFIER ${name} symbol)
		set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${path})
		file(READ ${path} hex HEX)
		string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
		file(CONFIGURE OUTPUT ${CMAKE_CURRENT_BINARY_DIR}/embedded_${symbol}.c CONTENT
"#include <stddef.h>
extern const unsigned char @symbol@[];
extern const size_t @symbol@_size;
const unsigned char @symbol@[] = {@bytes@};
const size_t @symbol@_size = sizeof(@symbol@);
" @ONLY)
		list(APPEND sources ${CMAKE_CURRENT_BINARY_DIR}/embedded_${symbol}.c)
	endforeach()
	set(${out} ${${out}} ${sources} PARENT_SCOPE)
endfunction()
