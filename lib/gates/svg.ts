/** A self-contained picture with a title above it. */
export function svgDocument(title: string, width: number, height: number, parts: readonly string[]): string {
  const lines = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="12">`,
    `<title>${escapeXml(title)}</title>`,
    `<rect width="${width}" height="${height}" fill="white"/>`,
    `<text x="12" y="26" font-size="15">${escapeXml(title)}</text>`,
    ...parts,
    '</svg>',
  ];
  return `${lines.join('\n')}\n`;
}

export const escapeXml = (text: string) => text.replace(/[&<>]/g, (character) => `&#${character.charCodeAt(0)};`);
