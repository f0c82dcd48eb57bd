# For those who call node-gyp: everything is built by CMake (see CMakeLists.txt).
{
  "targets": [
    {
      "target_name": "vitrine_native",
      "type": "none",
      "actions": [
        {
          "action_name": "cmake_js_build",
          "inputs": ["CMakeLists.txt", "package.json"],
          "outputs": ["<(module_root_dir)/build/Release/vitrine.node"],
          "action": ["<!(node -p process.execPath)", "<(module_root_dir)/scripts/build-native.cjs"]
        }
      ]
    }
  ]
}
