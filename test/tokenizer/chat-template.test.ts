import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import type { ChatMessage } from '#vitrine/tokenizer/chat-message.js';
import { ChatTemplate, type RenderOptions } from '#vitrine/tokenizer/chat-template.js';
import { Tokenizer } from '#vitrine/tokenizer/tokenizer.js';
import { temporaryDirectory } from '../support/temporary-directory.js';
import { readVectors, tokenizerFixture, unpackTokenizer } from './tokenizer-fixtures.js';

for (const name of ['llama3', 'qwen3', 'deepseek_v3', 'llama2']) {
  test(`${name}: renders as transformers`, async () => {
    const template = (await ChatTemplate.load(tokenizerFixture(name)))!;
    for (const { messages, add_generation_prompt: addGenerationPrompt, rendered } of readVectors(name).chat!) {
      assert.equal(template.render(messages, { addGenerationPrompt }), rendered);
    }
  });
}

for (const name of ['qwen3', 'llama2']) {
  test(`${name}: a rendered prompt encodes to the reference ids`, async (t) => {
    const { directory, remove } = await unpackTokenizer(name);
    t.after(remove);
    const tokenizer = await Tokenizer.load(directory);
    for (const { rendered, ids } of readVectors(name).chat!) {
      assert.deepEqual(await tokenizer.encode(rendered, false), ids);
    }
  });
}

async function load(t: TestContext, files: Record<string, unknown>, overrideFile?: string) {
  const directory = await temporaryDirectory(t);
  for (const [name, value] of Object.entries(files)) {
    await writeFile(join(directory, name), typeof value === 'string' ? value : JSON.stringify(value));
  }
  return ChatTemplate.load(directory, overrideFile === undefined ? undefined : join(directory, overrideFile));
}

async function render(
  t: TestContext,
  template: string,
  messages: readonly ChatMessage[] = [{ role: 'user', content: 'hi' }],
  options: Partial<RenderOptions> = {},
) {
  const config = { chat_template: template, bos_token: '<s>', eos_token: { content: '</s>' } };
  const loaded = (await load(t, { 'tokenizer_config.json': config }))!;
  return loaded.render(messages, { addGenerationPrompt: false, ...options });
}

describe('where the template comes from', () => {
  const rendered = (template: ChatTemplate | undefined, tools?: unknown) =>
    template?.render([{ role: 'user', content: '' }], { addGenerationPrompt: false, tools });
  const config = { chat_template: 'config' };

  test('nowhere', async (t) => {
    assert.equal(await load(t, {}), undefined);
    assert.equal(await load(t, { 'tokenizer_config.json': { chat_template: null } }), undefined);
  });

  test('chat_template.jinja, then tokenizer_config.json, then chat_template.json', async (t) => {
    const files = {
      'chat_template.jinja': 'jinja',
      'tokenizer_config.json': config,
      'chat_template.json': { chat_template: 'json' },
    };
    assert.equal(rendered(await load(t, files)), 'jinja');
    assert.equal(rendered(await load(t, { ...files, 'chat_template.jinja': '' })), '');
    const { 'chat_template.jinja': _, ...two } = files;
    assert.equal(rendered(await load(t, two)), 'config');
    assert.equal(rendered(await load(t, { 'chat_template.json': { chat_template: 'json' } })), 'json');
  });

  test('the override file wins', async (t) => {
    const files = { 'mine.jinja': 'mine {{ eos_token }}', 'tokenizer_config.json': { ...config, eos_token: '</s>' } };
    assert.equal(rendered(await load(t, files, 'mine.jinja')), 'mine </s>');
    await assert.rejects(load(t, files, 'none.jinja'), {
      code: 'INVALID_OPTION',
      param: '--chat-template',
      message: /--chat-template .*none\.jinja cannot be read: ENOENT/,
    });
  });

  test('named templates: tool_use with tools, default without', async (t) => {
    const named = [
      { name: 'default', template: 'plain' },
      { name: 'tool_use', template: '{{ tools | length }} tools' },
    ];
    const template = await load(t, { 'tokenizer_config.json': { chat_template: named } });
    assert.equal(rendered(template), 'plain');
    assert.equal(rendered(template, [{}, {}]), '2 tools');
    const alone = await load(t, { 'tokenizer_config.json': { chat_template: named.slice(0, 1) } });
    assert.equal(rendered(alone, [{}]), 'plain');
  });

  for (const [what, value] of Object.entries({
    number: 3,
    unnamed: ['x'],
    'no default': [{ name: 'rag', template: '' }],
  })) {
    test(`refuses: ${what}`, async (t) => {
      await assert.rejects(load(t, { 'tokenizer_config.json': { chat_template: value } }), {
        code: 'TOKENIZER_INVALID',
        message: /tokenizer_config\.json: "chat_template" must be a string or a list of \{name, template\}/,
      });
    });
  }

  test('a template that is not valid Jinja is refused with its file', async (t) => {
    await assert.rejects(load(t, { 'chat_template.jinja': '{% if %}' }), {
      code: 'TOKENIZER_INVALID',
      message: /chat_template\.jinja: chat template "default" is not valid Jinja/,
    });
  });
});

describe('variables', () => {
  test('tokens, tools, generation prompt and extras', async (t) => {
    const source = '{{ bos_token }}{{ eos_token }}{{ tools is none }}{{ add_generation_prompt }}{{ enable_thinking }}';
    assert.equal(await render(t, source, undefined, { extra: { enable_thinking: 7 } }), '<s></s>truefalse7');
    assert.equal(await render(t, '{{ add_generation_prompt }}', undefined, { addGenerationPrompt: true }), 'true');
    const tools = [{ type: 'function', function: { name: 'f' } }];
    assert.equal(
      await render(t, '{{ tools | tojson }}', undefined, { tools }),
      '[{"type": "function", "function": {"name": "f"}}]',
    );
  });

  test('extras cannot replace the messages', async (t) => {
    assert.equal(await render(t, '{{ messages | length }}', undefined, { extra: { messages: [] } }), '1');
  });

  test('strftime_now', async (t) => {
    const year = new Date().getFullYear();
    assert.match(
      await render(t, "{{ strftime_now('%Y-%m-%d') }}"),
      new RegExp(`^(${year}|${year + 1})-\\d\\d-\\d\\d$`),
    );
  });

  test('whitespace around blocks as in transformers', async (t) => {
    assert.equal(await render(t, '  {% if true %}\nx\n  {% endif %}\ny'), 'x\ny');
  });
});

describe('errors while rendering', () => {
  test('raise_exception speaks for itself', async (t) => {
    await assert.rejects(render(t, "{{ raise_exception('roles must alternate') }}"), {
      code: 'INVALID_REQUEST',
      status: 400,
      message: 'The chat template cannot render these messages: roles must alternate',
    });
  });

  test('anything else that goes wrong', async (t) => {
    await assert.rejects(render(t, '{{ messages[0].content | nosuchfilter }}'), {
      code: 'INVALID_REQUEST',
      message: /The chat template cannot render these messages: .*nosuchfilter/,
    });
  });
});

describe('content', () => {
  const STRINGS = '{% for m in messages %}[{{ m.content }}]{% endfor %}';
  const PARTS =
    '{% for m in messages %}{% if m.content is string %}[{{ m.content }}]{% else %}' +
    '{% for p in m.content %}({{ p.text }}){% endfor %}{% endif %}{% endfor %}';
  const parts = [
    {
      role: 'user',
      content: [
        { type: 'text', text: 'a' },
        { type: 'text', text: 'b' },
      ],
    },
    { role: 'assistant', content: 'c' },
  ] as const;

  test('parts are joined for a template that prints strings', async (t) => {
    assert.equal(await render(t, STRINGS, parts), '[a b][c]');
  });

  test('parts stay parts for a template that loops over them', async (t) => {
    assert.equal(await render(t, PARTS, parts), '(a)(b)[c]');
  });

  test('a template that would print a list as JSON gets strings', async (t) => {
    assert.equal(await render(t, '{{ messages[0].content | tojson }}', parts), '"a b"');
  });

  test('no content is an empty string', async (t) => {
    assert.equal(
      await render(t, STRINGS, [{ role: 'assistant', content: null, tool_calls: [] }, { role: 'user' }]),
      '[][]',
    );
  });

  test('arguments of tool calls become objects', async (t) => {
    const call = (args: unknown) => ({ role: 'assistant', tool_calls: [{ function: { name: 'f', arguments: args } }] });
    const source = '{% for m in messages %}{{ m.tool_calls[0].function.arguments | tojson }};{% endfor %}';
    const messages = [call('{"x": [1]}'), call({ y: 2 }), call('not JSON')];
    assert.equal(await render(t, source, messages), '{"x": [1]};{"y": 2};"not JSON";');
  });

  const refused: [string, unknown, string, RegExp][] = [
    ['no messages', [], 'messages', /^messages must hold at least one message/],
    ['a string as a message', ['hi'], 'messages[0]', /^messages\[0\] must be an object, got string "hi"/],
    ['no role', [{ content: 'x' }], 'messages[0].role', /^messages\[0\]\.role must be a string, got nothing/],
    [
      'a number as content',
      [{ role: 'user', content: 3 }],
      'messages[0].content',
      /must be a string or an array of text parts, got number 3/,
    ],
    [
      'an image',
      [
        { role: 'user', content: 'x' },
        { role: 'user', content: [{ type: 'image_url', image_url: {} }] },
      ],
      'messages[1].content[0].type',
      /^messages\[1\]\.content\[0\]\.type must be "text": only text is supported, got string "image_url"/,
    ],
    [
      'a part without text',
      [{ role: 'user', content: [{ type: 'text' }] }],
      'messages[0].content[0].text',
      /must be a string, got nothing/,
    ],
    [
      'a part that is a string',
      [{ role: 'user', content: ['x'] }],
      'messages[0].content[0]',
      /must be an object, got string "x"/,
    ],
    [
      'tool calls that are no list',
      [{ role: 'user', content: '', tool_calls: {} }],
      'messages[0].tool_calls',
      /must be an array/,
    ],
  ];
  for (const [what, messages, param, message] of refused) {
    test(`refuses ${what}`, async (t) => {
      await assert.rejects(render(t, STRINGS, messages as ChatMessage[]), { code: 'INVALID_REQUEST', param, message });
    });
  }
});

describe('the language', () => {
  const cases: [string, string][] = [
    ['{% for i in range(3) %}{{ i }}{% endfor %}', '012'],
    ['{% for i in range(1, 8, 3) %}{{ i }}{% endfor %}|{% for i in range(3, 0, -1) %}{{ i }}{% endfor %}', '147|321'],
    ['{{ None is none }}{{ True }}{{ False }}{{ none }}', 'truetruefalse'],
    ['{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}', '1'],
    ['{% macro f(x) %}<{{ x }}>{% endmacro %}{{ f("a") }}', '<a>'],
    ['{{ documents is none }}', 'true'],
    ['{% for m in messages %}{% if loop.first %}{% continue %}{% endif %}x{% endfor %}', ''],
    ['{% generation %}x{% endgeneration %}', 'x'],
  ];
  for (const [source, expected] of cases) {
    test(source, async (t) => assert.equal(await render(t, source), expected));
  }

  test('a range that never ends is refused', async (t) => {
    await assert.rejects(render(t, '{% for i in range(1, 2, 0) %}{% endfor %}'), /range\(\) arg 3 must not be zero/);
    await assert.rejects(render(t, '{% for i in range(100001) %}{% endfor %}'), /range too big, at most 100000 items/);
  });
});
